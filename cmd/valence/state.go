package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/adapters/registry"
	"valence/adapters/store"
	"valence/runtime/mt5/spec"
)

// placeFlags choose where adapters are kept.
type placeFlags struct {
	DataDir     string `type:"path" help:"Folder that keeps the adapters; by default valence in XDG_DATA_HOME or ~/.local/share." placeholder:"FOLDER"`
	DatabaseURL string `name:"database-url" help:"PostgreSQL that keeps them instead, for several servers: postgres://USER@HOST/DATABASE." placeholder:"URL"`
}

// Validate is called by kong after parsing.
func (f *placeFlags) Validate() error {
	if f.DataDir != "" && f.DatabaseURL != "" {
		return errors.New("--data-dir and --database-url are two places for one thing; give one of them")
	}
	return nil
}

// stateFlags choose where adapters are kept and what of them is in memory.
type stateFlags struct {
	placeFlags
	CacheBytes int64 `default:"536870912" help:"Memory for adapters that are not pinned, in bytes; those used least recently leave it first."`
	HubPull    bool  `help:"Pull an adapter that is not known here from the Hugging Face Hub when it is first asked for."`
}

// Validate is called by kong after parsing.
func (f *stateFlags) Validate() error {
	if f.CacheBytes < 0 {
		return fmt.Errorf("--cache-bytes is %d; it must not be negative", f.CacheBytes)
	}
	return f.placeFlags.Validate()
}

// dataDir is the folder for the state where no flag names one, by the XDG base
// directory specification.
func dataDir() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "valence"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the data: %w; give --data-dir", err)
	}
	return filepath.Join(home, ".local", "share", "valence"), nil
}

// options say where the durable state is.
func (f *placeFlags) options(log *slog.Logger) (o store.Options, err error) {
	o = store.Options{Dir: f.DataDir, URL: f.DatabaseURL, Log: log}
	if o.Dir == "" && o.URL == "" {
		o.Dir, err = dataDir()
	}
	return o, err
}

// openStore opens the durable state.
func (f *placeFlags) openStore(ctx context.Context, log *slog.Logger) (*store.Store, error) {
	o, err := f.options(log)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, o)
}

// openRegistry makes the registry of a server over its state.
func (f *stateFlags) openRegistry(ctx context.Context, s *stack, state *store.Store, metrics prometheus.Registerer, log *slog.Logger) (*registry.Registry, error) {
	hubs, err := hubOptions(log)
	if err != nil {
		return nil, err
	}
	client, err := hub.New(hubs)
	if err != nil {
		return nil, err
	}
	base, fixed := s.adapters.List()[0], s.adapters.List()[1:]
	return registry.New(ctx, registry.Options{
		Store: state, Engine: s.engine, Model: s.base.Config, Base: base, Fixed: fixed,
		Hub: client, HubPull: f.HubPull, HubOffline: hubs.Offline, HubEndpoint: hubs.Endpoint,
		CacheBytes: f.CacheBytes, Registerer: metrics, Log: log,
		CanaryTolerance: adapters.CanaryTolerance(s.model.Precision()),
		Free: func(all []*spec.Vectors) {
			if err := s.forget(context.Background(), all); err != nil {
				log.Error("adapters' memory on the device is not freed", "adapters", len(all), "error", err)
			}
		},
	})
}
