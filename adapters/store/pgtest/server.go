package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// server is a running cluster.
type server struct {
	dir       string    // the socket's
	alive     io.Closer // closed by the end of this process, which ends the cluster
	databases atomic.Int64
}

const (
	startTime = time.Minute
	startPoll = 20 * time.Millisecond
)

// settings are of a cluster that lives as long as a test.
const settings = `
listen_addresses = ''
unix_socket_directories = '%s'
max_connections = 200
shared_buffers = 32MB
fsync = off
full_page_writes = off
autovacuum = off
max_wal_size = 256MB
`

// supervise runs the program that follows it until its own standard input ends, then
// stops that program by its process id, and removes the folder that comes first. The
// other end of the input is in the test binary: however that ends, this notices.
const supervise = `
dir=$1; shift
"$@" & pid=$!
while read -r _; do :; done
kill -INT $pid; wait $pid
cd /; rm -rf "$dir"
`

func start() (*server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := folder(who)
	if err != nil {
		return nil, err
	}
	c, err := startIn(dir, bin, who)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

func startIn(dir, bin string, who *syscall.Credential) (*server, error) {
	// Segments of 1 MB keep the cluster small enough for a tmpfs.
	initialise := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "valence", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions", "--wal-segsize=1")
	initialise.Dir = dir
	initialise.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if out, err := initialise.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", initialise, err, out)
	}
	if err := configure(filepath.Join(dir, "data", "postgresql.conf"), fmt.Sprintf(settings, dir)); err != nil {
		return nil, err
	}
	c := &server{dir: dir}
	if err := c.run(bin, who); err != nil {
		return nil, err
	}
	return c, c.await()
}

// configure adds to the settings that initdb wrote: the last of each counts.
func configure(path, settings string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(settings)
	return errors.Join(err, f.Close())
}

// run starts the cluster under its supervisor, in a process group of their own, so that
// an interrupt at the terminal does not reach them.
func (c *server) run(bin string, who *syscall.Credential) error {
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	supervisor := exec.Command("/bin/sh", "-c", supervise, "supervise", c.dir, filepath.Join(bin, "postgres"), "-D", filepath.Join(c.dir, "data"))
	supervisor.Dir, supervisor.Stdout, supervisor.Stderr = c.dir, log, log
	supervisor.SysProcAttr = &syscall.SysProcAttr{Credential: who, Setpgid: true}
	if c.alive, err = supervisor.StdinPipe(); err != nil {
		return err
	}
	return supervisor.Start()
}

// await waits until the cluster answers.
func (c *server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		err := c.admin("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return errors.Join(fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, log), c.alive.Close())
		case <-time.After(startPoll):
		}
	}
}

// url is a database's address. The port only names the socket.
func (c *server) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("valence"), Path: "/" + database, RawQuery: url.Values{"host": {c.dir}, "port": {"5432"}}.Encode()}
	return u.String()
}

// unprivileged is the user to run as: PostgreSQL refuses to be root. It is nil for
// everybody else.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

// folder makes the cluster's folder. A socket's path has about 100 bytes at most.
func folder(who *syscall.Credential) (string, error) {
	base := os.TempDir()
	if len(base) > 60 {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "valence-pg-")
	if err != nil || who == nil {
		return dir, err
	}
	if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}
