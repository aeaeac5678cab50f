package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"valence/cmd/internal/client"
)

// server is "valence serve" in a process of its own, with its own state.
type server struct {
	cmd   *exec.Cmd
	said  *tail
	url   string
	api   *client.Client
	ready time.Duration // from its start to its first readiness
	exit  chan error
}

// readyLine is what the server logs when it is warm.
var readyLine = regexp.MustCompile(`msg=ready url=(\S+)`)

// serve starts a server with more flags and waits until it is ready. Whoever starts it
// stops it.
func (r *run) serve(ctx context.Context, base string, more ...string) (*server, error) {
	data, err := os.MkdirTemp(r.dir, "data-")
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(data, "state"), "--base", base, "--device", r.device.String(), "--threads", strconv.Itoa(r.o.Threads)}
	s := &server{cmd: exec.CommandContext(ctx, r.o.Self, append(args, more...)...), said: &tail{}, exit: make(chan error, 1)}
	s.cmd.Stderr, s.cmd.Env = s.said, ownEnv(os.Environ())
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.exit <- s.cmd.Wait() }()
	if err := s.wait(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.ready = time.Since(start)
	s.api, err = client.New(client.Options{URL: s.url})
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// ownEnv is the environment without the user's settings of Valence, such as a database:
// what is measured is a server of our own.
func ownEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "VALENCE_") })
}

// readyPatience is the longest time that a start may take.
const readyPatience = 5 * time.Minute

func (s *server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for {
		if m := readyLine.FindStringSubmatch(s.said.String()); m != nil {
			s.url = m[1]
			return nil
		}
		select {
		case err := <-s.exit:
			s.exit <- err
			return fmt.Errorf("the server ended before it was ready: %w\n%s", err, s.said)
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready: %w\n%s", ctx.Err(), s.said)
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends the server and waits for it.
func (s *server) stop() error {
	if s == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case err := <-s.exit:
		s.exit <- err
		if err != nil {
			return fmt.Errorf("the server: %w\n%s", err, s.said)
		}
		return nil
	case <-time.After(stopPatience):
		_ = s.cmd.Process.Kill()
		err := <-s.exit
		s.exit <- err
		return fmt.Errorf("the server did not end by itself: %w\n%s", err, s.said)
	}
}
