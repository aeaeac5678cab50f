package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"

	"valence/runtime/mt5/spec"
)

// ErrCheckpoint is wrapped by errors about a checkpoint that cannot be resumed.
var ErrCheckpoint = errors.New("train: checkpoint")

// A checkpoint is magic, the length of its header as little-endian uint64, the header
// as JSON, then float32 numbers as the header tells, and the SHA-256 of all that.
const (
	checkpointMagic   = "valence-train\n"
	checkpointVersion = 1
)

// header is a checkpoint's JSON. Numbers that decide bits lie behind it.
type header struct {
	Version  int         `json:"version"`
	Job      string      `json:"job"` // digest of what decides the result
	Epoch    int         `json:"epoch"`
	Phase    phase       `json:"phase"`
	Judged   []judgedRow `json:"judged,omitempty"`
	Seconds  float64     `json:"seconds"`
	Examples int         `json:"examples"`
	Runs     []savedRun  `json:"runs"`
}

// savedRun is a run but for its numbers: vectors, then moments while it is active,
// then the kept vectors where they are others.
type savedRun struct {
	Step    int         `json:"step"`
	Ended   Kind        `json:"ended,omitempty"`
	Failed  *Failure    `json:"failed,omitempty"`
	LossSum float64     `json:"loss_sum"`
	Losses  int         `json:"losses"`
	Epochs  []Epoch     `json:"epochs,omitempty"`
	Waiting int         `json:"waiting"`
	Kept    int         `json:"kept"`
	KeptNow bool        `json:"kept_now"` // the kept vectors are the live ones
	Rows    []judgedRow `json:"rows,omitempty"`
}

// judgedRow is judged as JSON. A loss that is not finite has no number there, and no
// probabilities.
type judgedRow struct {
	Row     int       `json:"row"`
	Loss    float64   `json:"loss"`
	Written bool      `json:"written"`
	Probs   []float64 `json:"probs"`
}

// Checkpoint gives the whole state as bytes. Resume with the same job goes on from
// them to the same bits. It must not be called while Run works.
func (t *Trainer) Checkpoint() ([]byte, error) {
	job, err := t.job.digest()
	if err != nil {
		return nil, err
	}
	h := header{
		Version: checkpointVersion, Job: job, Epoch: t.epoch, Phase: t.phase, Judged: save(t.judged),
		Seconds: t.seconds, Examples: t.examples,
	}
	var numbers []byte
	for _, r := range t.runs {
		live := r.live.Load()
		s := savedRun{
			Step: r.step, Ended: r.ended, Failed: r.failed, LossSum: r.lossSum, Losses: r.losses, Epochs: r.epochs,
			Waiting: r.waiting, Kept: r.kept.epoch, KeptNow: r.kept.vectors == live, Rows: save(r.kept.rows),
		}
		h.Runs = append(h.Runs, s)
		for _, v := range [][]float32{live.Data, r.adam.m, r.adam.v} {
			numbers = appendFloats(numbers, v)
		}
		if s.Kept > 0 && !s.KeptNow {
			numbers = appendFloats(numbers, r.kept.vectors.Data)
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	out := append([]byte(checkpointMagic), binary.LittleEndian.AppendUint64(nil, uint64(len(text)))...)
	out = append(append(out, text...), numbers...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

// Resume opens the job where a checkpoint of it stands. Errors are those of Open, or
// wrap ErrCheckpoint.
func Resume(job Job, model Model, tok Tokenizer, checkpoint []byte) (*Trainer, error) {
	h, numbers, err := readCheckpoint(checkpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	t, err := Open(job, model, tok)
	if err != nil {
		return nil, err
	}
	digest, err := job.digest()
	if err != nil {
		return nil, err
	}
	if h.Job != digest {
		return nil, fmt.Errorf("%w: it is of another job: the recipe, the data, the base or the vectors to start from have changed", ErrCheckpoint)
	}
	if err := t.restore(h, numbers); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return t, nil
}

// readCheckpoint checks the bytes before it believes any of them.
func readCheckpoint(data []byte) (*header, []byte, error) {
	const prefix = len(checkpointMagic) + 8
	if len(data) < prefix+sha256.Size || !bytes.HasPrefix(data, []byte(checkpointMagic)) {
		return nil, nil, errors.New("it is not one, or cut short")
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return nil, nil, errors.New("its checksum does not match: it is damaged or cut short")
	}
	n := binary.LittleEndian.Uint64(body[len(checkpointMagic):])
	if body = body[prefix:]; n > uint64(len(body)) {
		return nil, nil, fmt.Errorf("its header has %d bytes of %d", n, len(body))
	}
	h := &header{}
	if err := json.Unmarshal(body[:n], h); err != nil {
		return nil, nil, err
	}
	if h.Version != checkpointVersion {
		return nil, nil, fmt.Errorf("its version is %d; only %d can be read", h.Version, checkpointVersion)
	}
	return h, body[n:], nil
}

// restore puts a checkpoint's state into a trainer just opened.
func (t *Trainer) restore(h *header, numbers []byte) error {
	if len(h.Runs) != len(t.runs) || h.Phase != learning && h.Phase != evaluating {
		return fmt.Errorf("it has %d runs, not %d, in phase %q", len(h.Runs), len(t.runs), h.Phase)
	}
	in := floats{data: numbers}
	for i, s := range h.Runs {
		t.runs[i].restore(&s, &in, t.job.Sites)
	}
	if in.short || len(in.data) != 0 {
		return errors.New("it has too few numbers or too many")
	}
	t.epoch, t.phase, t.judged, t.seconds, t.examples = h.Epoch, h.Phase, load(h.Judged), h.Seconds, h.Examples
	return nil
}

func (r *run) restore(s *savedRun, in *floats, sites []spec.Site) {
	n := spec.Total(sites)
	live := &spec.Vectors{Sites: sites, Data: in.take(n)}
	r.live.Store(live)
	r.adam = adamW{}
	if r.ended = s.Ended; r.active() {
		r.adam = adamW{in.take(n), in.take(n)}
	}
	r.step, r.failed, r.lossSum, r.losses, r.epochs, r.waiting = s.Step, s.Failed, s.LossSum, s.Losses, s.Epochs, s.Waiting
	r.kept = kept{epoch: s.Kept, rows: load(s.Rows)}
	switch {
	case s.KeptNow:
		r.kept.vectors = live
	case s.Kept > 0:
		r.kept.vectors = &spec.Vectors{Sites: sites, Data: in.take(n)}
	}
}

// digest names everything that decides the result of a job.
func (j *Job) digest() (string, error) {
	h := sha256.New()
	if err := json.MarshalWrite(h, struct {
		Recipe *Recipe     `json:"recipe"`
		Data   *Data       `json:"data"`
		Base   string      `json:"base"`
		Sites  []spec.Site `json:"sites"`
	}{&j.Recipe, &j.Data, j.Base, j.Sites}, json.Deterministic(true)); err != nil {
		return "", fmt.Errorf("%w: %w", ErrJob, err)
	}
	h.Write(appendFloats(nil, j.start().Data))
	return hex.EncodeToString(h.Sum(nil)), nil
}

func save(rows []judged) []judgedRow {
	out := make([]judgedRow, len(rows))
	for i, j := range rows {
		if out[i] = (judgedRow{j.row, j.loss, j.written, j.probs}); !isFinite(j.loss) {
			out[i].Loss, out[i].Probs = 0, nil
		}
	}
	return out
}

func load(rows []judgedRow) []judged {
	var out []judged
	for _, j := range rows {
		out = append(out, judged{j.Row, j.Loss, j.Written, j.Probs})
	}
	return out
}

func appendFloats(out []byte, v []float32) []byte {
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

// floats reads numbers and remembers whether there were too few.
type floats struct {
	data  []byte
	short bool
}

func (f *floats) take(n int) []float32 {
	if len(f.data) < 4*n {
		f.short, f.data = true, nil
		return make([]float32, n)
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(f.data[4*i:]))
	}
	f.data = f.data[4*n:]
	return out
}
