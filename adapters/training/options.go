package training

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/jobs"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
	"valence/runtime/train"
)

// Datasets has the rows that are trained on. It is met by *datasets.Store.
type Datasets interface {
	Get(ctx context.Context, id string) (datasets.Dataset, error)
	// Rows ends with an error where the file is not what it was; see datasets.Store.
	Rows(ctx context.Context, id string) iter.Seq2[datasets.Row, error]
}

// Adapters has the versions to start from and to compare with, and takes the new ones. It
// is met by *registry.Registry.
type Adapters interface {
	Lease(ctx context.Context, q adapters.Query) (*adapters.Lease, error)
	Info(ctx context.Context, id string) (adapters.Info, error)
	Trainable(id string) error
	PublishTrained(ctx context.Context, t adapters.TrainedVersion) (adapters.Published, error)
	Push(ctx context.Context, p adapters.PushRequest) (adapters.Pushed, error)
}

// Engine answers rows, for canaries and comparisons. It is met by *engine.Engine.
type Engine interface {
	adapters.Predictor
	NewTask(s engine.TaskSpec) (*engine.Task, error)
}

// Options configures a Trainer. All but the last two are needed.
type Options struct {
	Model     train.Model
	Tokenizer train.Tokenizer
	Config    *spec.Config    // of the base
	Base      *adapters.Entry // the base itself
	BaseName  string          // as adapter_config.json names it where it is a repository of the Hub
	Engine    Engine
	Datasets  Datasets
	Adapters  Adapters
	// TurnWork is how many floating-point operations training takes in one turn on the
	// device, which serving may have to wait for. 0 is DefaultTurnWork.
	TurnWork float64
	// MicroTokens bounds the padded tokens that go through the base together, for memory.
	// 0 is train.DefaultMicroTokens.
	MicroTokens int
	// CanaryTolerance is what adapters.CanaryTolerance says of the engine's precision; 0
	// is that of float32.
	CanaryTolerance float64
	Log             *slog.Logger // nil logs nothing
}

// Turns of some milliseconds.
const (
	DefaultTurnWork = 2e9   // of a core or two
	CUDATurnWork    = 200e9 // of a GPU
)

// CUDAMicroTokens is for a GPU, which small batches leave idle. With mt0-large, of which
// CUDATurnWork allows a quarter of it, 2,048 tokens take 3 GB until their way back is done.
const CUDAMicroTokens = 8192

func (o *Options) check() error {
	if o.Model == nil || o.Tokenizer == nil || o.Config == nil || o.Base == nil || o.Engine == nil || o.Datasets == nil || o.Adapters == nil {
		return errors.New("training: Model, Tokenizer, Config, Base, Engine, Datasets and Adapters are needed")
	}
	if o.TurnWork == 0 {
		o.TurnWork = DefaultTurnWork
	}
	if o.MicroTokens == 0 {
		o.MicroTokens = train.DefaultMicroTokens
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Trainer trains and publishes for a jobs.Manager. It is safe for concurrent use.
type Trainer struct {
	o Options

	mu   sync.Mutex
	last *work // of the segment that ended last, with its checkpoint, or nil
	seen seen  // what Live read last
}

var (
	_ jobs.Trainer   = (*Trainer)(nil)
	_ jobs.Publisher = (*Trainer)(nil)
)

// New makes a Trainer.
func New(o Options) (*Trainer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	return &Trainer{o: o}, nil
}
