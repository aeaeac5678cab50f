package training

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"math"
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
	// MicroTokens bounds what goes through the base together, as train.Recipe has it. 0 is
	// train.DefaultMicroTokens, which is for a CPU.
	MicroTokens int
	// CanaryTolerance is what adapters.CanaryTolerance says of the engine's precision; 0
	// is that of float32.
	CanaryTolerance float64
	Log             *slog.Logger // nil logs nothing
}

// cudaWork is how many floating-point operations a block of the base may take there and back
// on a GPU, which small batches leave idle, and the others bound what follows.
const (
	cudaWork        = 200e9
	cudaLeastTokens = 64
	cudaMostTokens  = 8192
)

// CUDAMicroTokens is MicroTokens for a base on a GPU: 2,048 for mt0-large, which take 2 GB
// until their way back is done. It follows from the base alone, so that the same request gives
// the same digest on every machine of a kind.
func CUDAMicroTokens(c *spec.Config) int {
	width, ff := float64(c.DModel), 2.0
	if c.Gated {
		ff = 3
	}
	perToken := 2 * 2 * (4*width*float64(c.DInner()) + ff*width*float64(c.DFF)) // forward, and as much for the way back
	n := int(math.Exp2(math.Floor(math.Log2(cudaWork / perToken))))
	return min(max(n, cudaLeastTokens), cudaMostTokens)
}

func (o *Options) check() error {
	if o.Model == nil || o.Tokenizer == nil || o.Config == nil || o.Base == nil || o.Engine == nil || o.Datasets == nil || o.Adapters == nil {
		return errors.New("training: Model, Tokenizer, Config, Base, Engine, Datasets and Adapters are needed")
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
