package training

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/go-json-experiment/json"

	"valence/adapters/jobs"
	"valence/runtime/mt5/spec"
	"valence/runtime/train"
)

// work is a job that is open.
type work struct {
	job     string            // its id, "" where it is only looked at
	at      [sha256.Size]byte // of the checkpoint that it stands at
	from    *origin
	trainer *train.Trainer
	task    train.Job
	lead    int                       // number of the run that is ahead
	live    atomic.Pointer[jobs.Live] // of that run
}

// open goes to where a checkpoint stands, or to the start.
func (t *Trainer) open(ctx context.Context, id string, s jobs.Spec, data jobs.Data, checkpoint []byte) (*work, error) {
	if w := t.take(id, checkpoint); w != nil {
		return w, nil
	}
	w := &work{job: id}
	var (
		rest []byte
		err  error
	)
	if checkpoint == nil {
		w.from, err = t.origin(ctx, s)
	} else {
		w.from, rest, err = readCheckpoint(checkpoint, t.o.Config)
	}
	if err != nil {
		return nil, err
	}
	if w.task, err = t.job(ctx, s, data, w.from); err != nil {
		return nil, invalid(err)
	}
	if rest == nil {
		w.trainer, err = train.Open(w.task, t.o.Model, t.o.Tokenizer)
	} else {
		w.trainer, err = train.Resume(w.task, t.o.Model, t.o.Tokenizer, rest)
	}
	if err != nil {
		return nil, invalid(err)
	}
	w.follow()
	return w, nil
}

// take gives the work of the segment before, if it stands at the checkpoint. What was
// trained since is the same as after a restart, but need not be read again.
func (t *Trainer) take(id string, checkpoint []byte) *work {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.last
	if w == nil || w.job != id || checkpoint == nil || w.at != sha256.Sum256(checkpoint) {
		return nil
	}
	t.last = nil
	return w
}

// leave keeps work for the segment that follows.
func (t *Trainer) leave(w *work, checkpoint []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.at = sha256.Sum256(checkpoint)
	t.last = w
}

// follow chooses the run that is ahead: the best after its last epoch, or, where all have
// failed, the one that went furthest. It
// must not be called while the trainer works.
func (w *work) follow() {
	r := w.trainer.Result()
	if w.lead = r.Best; w.lead < 0 {
		w.lead = furthest(r)
	}
	w.publishLive(w.trainer.Steps(w.lead))
}

// publishLive lets the vectors of this moment be asked for.
func (w *work) publishLive(step int) {
	w.live.Store(&jobs.Live{Step: step, Vectors: w.trainer.LiveVectors(w.lead).Data})
}

// moment gives the vectors with what they are served with.
func (w *work) moment(context.Context) (jobs.Live, error) {
	live := *w.live.Load()
	side := sidecarOf(w.trainer.Labels(), w.task.Data.Template)
	var err error
	live.Sidecar, err = encode(side)
	return live, err
}

// A checkpoint is magic, the length of its header as little-endian uint64, the header as
// JSON, the vectors to start from as float32, and the trainer's own checkpoint, which has
// a checksum.
const checkpointMagic = "valence-training 1\n"

// checkpointHeader is a checkpoint's JSON.
type checkpointHeader struct {
	From  *origin `json:"from"`
	Start int     `json:"start"` // elements of the vectors to start from; 0 for those of the base
}

func (w *work) checkpoint() ([]byte, error) {
	inner, err := w.trainer.Checkpoint()
	if err != nil {
		return nil, err
	}
	h := checkpointHeader{From: w.from}
	var start []byte
	if w.task.Start != nil {
		h.Start = len(w.task.Start.Data)
		for _, x := range w.task.Start.Data {
			start = binary.LittleEndian.AppendUint32(start, math.Float32bits(x))
		}
	}
	text, err := encode(h)
	if err != nil {
		return nil, err
	}
	out := binary.LittleEndian.AppendUint64([]byte(checkpointMagic), uint64(len(text)))
	return append(append(append(out, text...), start...), inner...), nil
}

var errCheckpoint = errors.New("training: it is no checkpoint of this package, or cut short")

// readCheckpoint gives where the job started, and the trainer's checkpoint.
func readCheckpoint(data []byte, config *spec.Config) (*origin, []byte, error) {
	const prefix = len(checkpointMagic) + 8
	if len(data) < prefix || !bytes.HasPrefix(data, []byte(checkpointMagic)) {
		return nil, nil, errCheckpoint
	}
	n := binary.LittleEndian.Uint64(data[len(checkpointMagic):])
	if data = data[prefix:]; n > uint64(len(data)) {
		return nil, nil, errCheckpoint
	}
	var h checkpointHeader
	if err := json.Unmarshal(data[:n], &h); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errCheckpoint, err)
	}
	data = data[n:]
	if h.From == nil || h.Start < 0 || h.Start > len(data)/4 {
		return nil, nil, errCheckpoint
	}
	if h.Start == 0 {
		return h.From, data, nil
	}
	values := make([]float32, h.Start)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	var err error
	h.From.vectors, err = spec.NewVectors(config.DefaultSites(), values)
	return h.From, data[4*h.Start:], err
}
