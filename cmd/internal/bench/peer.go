package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"valence/cmd/internal/bench/peers"
)

// errPeers is wrapped by every error about the peers' process.
var errPeers = errors.New("peers")

// peer is a process of the peers' script that waits for requests.
type peer struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *bufio.Reader
	said    *tail // on standard error
}

// reply is one line of the script's answers.
type reply struct {
	Versions map[string]string `json:"versions"`
	Seconds  float64           `json:"seconds"`
	Loss     float64           `json:"loss"`
	Error    string            `json:"error"`
}

// startPeer starts the script in a role and waits until it is ready. Whoever starts it
// stops it.
func (r *run) startPeer(ctx context.Context, role, model string, more ...string) (*peer, error) {
	script := filepath.Join(r.dir, "peers.py")
	if err := os.WriteFile(script, peers.Script, 0o600); err != nil {
		return nil, err
	}
	args := append([]string{script, role, model, "--threads", strconv.Itoa(r.o.Threads), "--device", r.device.String()}, more...)
	p := &peer{cmd: exec.CommandContext(ctx, r.o.Python, args...), said: &tail{}}
	p.cmd.Env = peerEnv(os.Environ())
	p.cmd.Stderr = p.said
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.answers = stdin, bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", errPeers, err)
	}
	hello, err := p.read()
	if err != nil {
		_ = p.stop() // it says the same again
		return nil, err
	}
	r.report.Versions.Peers = hello.Versions
	return p, nil
}

// peerEnv is the environment without what this program has set for itself, which the
// peers shall not be slowed by.
func peerEnv(env []string) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return strings.HasPrefix(kv, "GOMP_SPINCOUNT=") })
	return append(out, "HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false")
}

// ask sends a request and gives its answer.
func (p *peer) ask(request map[string]any) (reply, error) {
	line, err := json.Marshal(request)
	if err != nil {
		return reply{}, err
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return reply{}, fmt.Errorf("%w: %w\n%s", errPeers, err, p.said)
	}
	return p.read()
}

func (p *peer) read() (reply, error) {
	line, err := p.answers.ReadBytes('\n')
	if err != nil {
		return reply{}, fmt.Errorf("%w: the process ended: %w\n%s", errPeers, err, p.said)
	}
	return parseReply(line)
}

// parseReply reads a line of the script.
func parseReply(line []byte) (out reply, err error) {
	if err := json.Unmarshal(line, &out); err != nil {
		return out, fmt.Errorf("%w: %q is no answer: %w", errPeers, line, err)
	}
	switch {
	case out.Error != "":
		return out, fmt.Errorf("%w: %s", errPeers, out.Error)
	case out.Versions == nil && !(out.Seconds > 0):
		return out, fmt.Errorf("%w: %q says neither a time nor versions", errPeers, line)
	}
	return out, nil
}

// stopPatience is how long a process may take to end by itself.
const stopPatience = 20 * time.Second

// stop ends the process, whose memory is then free. A second stop does nothing.
func (p *peer) stop() error {
	if p == nil || p.cmd.ProcessState != nil {
		return nil
	}
	_ = p.stdin.Close() // it ends at the end of its input
	late := time.AfterFunc(stopPatience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %w\n%s", errPeers, err, p.said)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text); n > tailBytes {
		t.text = t.text[n-tailBytes:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
