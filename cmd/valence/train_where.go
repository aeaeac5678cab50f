package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"valence/adapters/datasets"
	"valence/cmd/internal/client"
)

// trainWhere says who does the work.
type trainWhere struct {
	keyFlags
	placeFlags
	Server  string `help:"The server that does the work; without it, this process does, with what follows." placeholder:"URL"`
	Base    string `default:"builtin" help:"The base model, as of \"valence serve\"." placeholder:"builtin|FOLDER|OWNER/NAME"`
	Device  string `default:"auto" help:"Where the model runs: auto (CUDA if it can be had), cpu, cuda or cuda:N."`
	Dtype   string `default:"auto" enum:"auto,float32,bfloat16,float16,int8" help:"As of \"valence serve\"."`
	Threads int    `default:"0" help:"CPU threads of an operator; 0 takes one for each core."`
}

func (w *trainWhere) validateWhere() error {
	if w.Server != "" {
		return nil
	}
	s := w.server()
	return errors.Join(s.baseFlags.Validate(), s.stateFlags.Validate())
}

// longest is the longest time of a call to a server in this process, which nobody else
// waits for.
const longest = 24 * time.Hour

// server is a server with what the flags say.
func (w *trainWhere) server() *serveCmd {
	return &serveCmd{
		baseFlags:  baseFlags{Base: w.Base, Device: w.Device, Dtype: w.Dtype, Threads: w.Threads, MaxTokens: 512},
		stateFlags: stateFlags{placeFlags: w.placeFlags, CacheBytes: 512 << 20},
		MaxBody:    1 << 20, MaxUpload: 64 << 20, MaxDataset: datasets.DefaultBytes, MaxInputs: 256,
		Timeout: longest, ChangeTimeout: longest, DrainTimeout: 30 * time.Second,
	}
}

// connect gives a client of the server, or of one within this process, and what ends
// that.
func (w *trainWhere) connect(ctx context.Context, std streams) (c *client.Client, stop func() error, err error) {
	if w.Server != "" {
		c, err := client.New(w.client(w.Server))
		return c, func() error { return nil }, err
	}
	inside := newPipes()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // Ctrl-C is ours to tell
	ended := make(chan error, 1)
	go func() {
		err := w.server().runOn(ctx, std, quietLog(std), inside, "http://inside")
		_ = inside.Close() // whoever asks from now on is refused, and does not wait
		ended <- err
	}()
	stop = func() error {
		cancel()
		return <-ended
	}
	transport := &http.Transport{DialContext: inside.dial}
	if c, err = client.New(client.Options{URL: "http://inside", HTTP: &http.Client{Transport: transport}, Patience: longest}); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	if err := c.Ready(ctx); err != nil {
		if serverErr := stop(); serverErr != nil { // which says why
			return nil, nil, serverErr
		}
		return nil, nil, err
	}
	return c, stop, nil
}

// pipes is a listener without an address: nobody but this process reaches it.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept is part of net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close is part of net.Listener.
func (p *pipes) Close() error {
	p.close()
	return nil
}

// Addr is part of net.Listener.
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "inside" }
