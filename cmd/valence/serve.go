package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/registry"
	"valence/adapters/store"
	"valence/handlers"
	"valence/runtime/engine"
)

type serveCmd struct {
	baseFlags
	stateFlags
	logFlags
	Listen          string        `default:"127.0.0.1:8080" help:"Address to serve on. Port 0 takes a free one, which is logged."`
	InferKey        []string      `help:"Key that may ask; give the flag once for each. Best by the environment, where other users of the machine cannot see it." placeholder:"KEY"`
	AdminKey        []string      `help:"Key that may do everything; give the flag once for each." placeholder:"KEY"`
	CORSOrigin      []string      `name:"cors-origin" help:"Web origin whose pages may call the API, such as https://app.example; give the flag once for each." placeholder:"ORIGIN"`
	MaxBody         int64         `default:"1048576" help:"Largest request body in bytes."`
	MaxUpload       int64         `default:"67108864" help:"Largest upload in bytes, and the most that it may unpack to."`
	MaxDataset      int64         `default:"268435456" help:"Largest upload of a data set in bytes."`
	AnswerBytes     int64         `default:"67108864" help:"Memory for answers, in bytes, to be given again for the same text, adapter and options; 0 keeps none."`
	MaxInputs       int           `default:"256" help:"Most rows of one request: texts, times the members of a jury."`
	Timeout         time.Duration `default:"60s" help:"Longest time to an answer."`
	CheckpointEvery time.Duration `default:"30s" help:"Longest work of a training between two checkpoints, after which another training has its turn."`
	ChangeTimeout   time.Duration `default:"5m" help:"The same where adapters are uploaded, pulled or pushed."`
	DrainTimeout    time.Duration `default:"30s" help:"Longest time to finish running requests after SIGTERM."`
	keys            handlers.Keys
	KeepPacked      bool          `default:"true" negatable:"" help:"Keep the packed weights of a base that is not the builtin one in the user's cache, where they take as much room as in memory: the next start maps them."`
	DrainDelay      time.Duration `default:"0s" help:"After SIGTERM, how long /readyz fails before the port closes, for load balancers to notice."`
}

// Validate is called by kong after parsing.
func (c *serveCmd) Validate() error {
	if err := cmp.Or(c.baseFlags.Validate(), c.stateFlags.Validate()); err != nil {
		return err // kong asks the outermost Validate alone
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen %q is not an address; write HOST:PORT, such as 127.0.0.1:8080", c.Listen)
	}
	keys, err := handlers.NewKeys(c.InferKey, c.AdminKey)
	if err != nil {
		return err
	}
	if keys.Empty() && !loopback(host) {
		return fmt.Errorf("--listen %s can be reached from other machines, and there are no keys: set VALENCE_INFER_KEY or VALENCE_ADMIN_KEY, or listen on 127.0.0.1", c.Listen)
	}
	c.keys = keys
	if c.AnswerBytes < 0 {
		return fmt.Errorf("--answer-bytes is %d; it must not be negative", c.AnswerBytes)
	}
	if c.MaxBody < 1 || c.MaxUpload < 1 || c.MaxDataset < 1 || c.MaxInputs < 1 || c.Timeout <= 0 || c.ChangeTimeout <= 0 || c.CheckpointEvery <= 0 || c.DrainTimeout <= 0 || c.DrainDelay < 0 {
		return errors.New("--max-body, --max-upload, --max-dataset, --max-inputs, --timeout, --change-timeout, --checkpoint-every and --drain-timeout must be positive")
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// answerBytes is the engine's bound, where 0 is its default.
func (c *serveCmd) answerBytes() int64 {
	if c.AnswerBytes == 0 {
		return -1
	}
	return c.AnswerBytes
}

// garbage is by how many per cent the heap of Go grows between two collections, unless
// GOGC says it. The weights are not in it: at 100 it was collected after some tens of
// megabytes, at the first answers of a few adapters, and they waited for that.
const garbage = 400

// Run serves until ctx ends, then drains.
func (c *serveCmd) Run(ctx context.Context, std streams) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	log := c.logger(std)
	listener, err := net.Listen("tcp", c.Listen) // first: a port in use should not cost the loading of a base
	if err != nil {
		return err
	}
	return c.runOn(ctx, std, log, listener, "http://"+listener.Addr().String())
}

// runOn serves at a listener, which url leads to, until ctx ends, then drains.
func (c *serveCmd) runOn(ctx context.Context, std streams, log *slog.Logger, listener net.Listener, url string) error {
	front := newFront(log)
	server := c.server(front, log)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	metrics := prometheus.NewRegistry()
	state := begin(func() (*store.Store, error) { return c.openStore(ctx, log) })
	s, err := c.open(ctx, openOptions{log: log, registry: metrics, progress: byteBar(std, "loading"), fetched: byteBar(std, "fetching"), answers: c.answerBytes(), packs: c.KeepPacked})
	if err != nil {
		if opened, failed := state(); failed == nil {
			err = errors.Join(err, opened.Close())
		}
		return errors.Join(err, server.Close())
	}
	c.logBase(log, s)
	err = c.serve(ctx, s, &running{log: log, front: front, server: server, served: served, metrics: metrics, url: url, state: state})
	// A new context: the old one has ended, that is why we are here.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.DrainTimeout)
	defer cancel()
	err = errors.Join(err, s.Close(closing))
	log.Info("stopped", "tensor_handles", s.thread.Live())
	return err
}

// running is a server whose base is loaded.
type running struct {
	log     *slog.Logger
	front   *front
	server  *http.Server
	served  <-chan error
	metrics *prometheus.Registry
	url     string
	state   func() (*store.Store, error) // waits for it to be open
}

// serve opens the state, puts the API behind the port, and answers until ctx ends.
func (c *serveCmd) serve(ctx context.Context, s *stack, r *running) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.server.Close())
		}
	}()
	state, err := r.state()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	known, err := c.openRegistry(ctx, s, state, r.metrics, r.log)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.DrainTimeout)
		defer cancel()
		err = errors.Join(err, known.Close(closing))
	}()
	trained, err := openTrainings(ctx, s, state, known, r.metrics, r.log, datasets.Limits{Bytes: c.MaxDataset}, c.CheckpointEvery)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.DrainTimeout)
		defer cancel()
		err = errors.Join(err, trained.Close(closing))
	}()
	gate := &handlers.Gate{}
	if err := c.ready(ctx, r, gate, s, known, trained); err != nil {
		return err
	}
	r.log.Info("ready", "url", r.url, "adapters", len(known.List())-1)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.packs.settle(ctx, s.model)
	}()
	defer func() { <-settled }()
	return c.wait(ctx, r.log, gate, r.server, r.served)
}

// front is what the port leads to: first a handler that says "loading", then the API.
type front struct{ handler atomic.Pointer[http.Handler] }

func newFront(log *slog.Logger) *front {
	f := &front{}
	f.set(handlers.Loading(log))
	return f
}

func (f *front) set(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, r)
}

func (c *serveCmd) server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       c.Timeout + 10*time.Second,
		WriteTimeout:      2*c.Timeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// ready puts the API behind the port, warms up, and opens the gate.
func (c *serveCmd) ready(ctx context.Context, r *running, gate *handlers.Gate, s *stack, known *registry.Registry, trained *trainings) error {
	api, err := handlers.New(handlers.Deps{
		Engine: s.engine, Adapters: known, Jobs: trained.jobs, Datasets: trained.datasets, Base: c.describe(s), Ready: gate, Registry: r.metrics, Log: r.log, Origins: c.CORSOrigin, Keys: c.keys,
		Limits: handlers.Limits{
			BodyBytes: c.MaxBody, UploadBytes: c.MaxUpload, DatasetBytes: c.MaxDataset, Inputs: c.MaxInputs, Timeout: c.Timeout, ChangeTimeout: c.ChangeTimeout,
		},
	})
	if err == nil {
		err = register(r.metrics, s)
	}
	if err != nil {
		return err
	}
	r.front.set(api)
	if err := warmUp(ctx, s); err != nil {
		return err
	}
	gate.Open()
	return nil
}

func (c *serveCmd) logBase(log *slog.Logger, s *stack) {
	if s.whyCPU != nil {
		log.Info("running on the CPU", "reason", s.whyCPU)
	}
	if unused := s.base.Unused(); len(unused) > 0 {
		log.Warn("the base has tensors that no T5 uses; they are ignored", "tensors", unused)
	}
	log.Info("loaded", "base", s.base.Name, "digest", s.base.Digest(), "parameters", s.base.Config.Parameters(),
		"device", s.thread.Device(), "dtype", s.model.Precision(), "threads", s.thread.Threads(),
		"adapters", len(s.adapters.List()), "seconds", s.loaded.Seconds())
}

// register adds the metrics of the process and of the device.
func register(metrics *prometheus.Registry, s *stack) error {
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "valence_torch_live_handles",
		Help: "Tensor handles that exist now. Flat between requests; growth is a leak.",
	}, func() float64 { return float64(s.thread.Live()) })
	copies := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "valence_device_adapters",
		Help: "Adapters that have a copy on the device, where rows read them.",
	}, func() float64 { used, _ := s.model.Copies(); return float64(used) })
	slots := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "valence_device_adapter_slots",
		Help: "Adapters that the table on the device has room for. It grows with what rows use.",
	}, func() float64 { _, slots := s.model.Copies(); return float64(slots) })
	for _, c := range []prometheus.Collector{
		live, copies, slots, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := metrics.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// wait serves until ctx ends and then drains, or until the server fails.
func (c *serveCmd) wait(ctx context.Context, log *slog.Logger, gate *handlers.Gate, server *http.Server, served <-chan error) error {
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return c.drain(log, gate, server)
	}
}

// drain answers what has begun and refuses what is new.
func (c *serveCmd) drain(log *slog.Logger, gate *handlers.Gate, server *http.Server) error {
	log.Info("draining", "timeout", c.DrainTimeout)
	gate.Drain()
	time.Sleep(c.DrainDelay)
	ctx, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests were cut off after %v: %w", c.DrainTimeout, errors.Join(err, server.Close()))
	}
	return nil
}

// warmUp runs a short and a long row through everything, and the canaries of each
// adapter, so that the first request meets no first-time work.
func warmUp(ctx context.Context, s *stack) error {
	for _, entry := range s.adapters.List() {
		if err := entry.CheckCanaries(ctx, s.engine, adapters.CanaryTolerance(s.model.Precision())); err != nil {
			return err
		}
	}
	base, err := s.adapters.Lookup(ctx, "")
	if err != nil {
		return err
	}
	out, err := s.engine.Predict(ctx, []engine.Request{{Text: "warm up", Task: base.Task, Truncate: true, Fresh: true}})
	if err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	return out[0].Err
}
