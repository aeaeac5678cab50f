package engine

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// answerKey names everything that a row's answer depends on. Rows with equal keys have
// the same answer. The zero answerKey stands for a row that has none.
type answerKey struct {
	digest string // of the task
	ids    string // little-endian, as text: a slice cannot be a key
	labels uint64 // ModeLabels: bits of the labels scored; 0 in ModeGenerate
	limit  int    // ModeGenerate: most new tokens; 0 in ModeLabels
}

// keyOf is the row's key, zero where its task has no digest or its caller wants no answer
// but a fresh one.
func (r *row) keyOf(req *Request) answerKey {
	if req.Fresh || r.task.digest == "" {
		return answerKey{}
	}
	k := answerKey{digest: r.task.digest, ids: idText(r.ids), limit: r.limit}
	if r.trie != nil {
		k.labels = r.trie.bits
	}
	return k
}

func idText(ids []int32) string {
	text := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		text = binary.LittleEndian.AppendUint32(text, uint32(id))
	}
	return string(text)
}

// answers keeps results under their keys, those used least recently giving way to new
// ones. A result is exact: digests name contents, so that none is ever out of date.
type answers struct {
	limit   int64 // bytes
	metrics *Metrics

	mu    sync.Mutex
	bytes int64
	kept  *simplelru.LRU[answerKey, Result]
}

// newAnswers keeps at most limit bytes; none below 1.
func newAnswers(limit int64, m *Metrics) *answers {
	// The LRU's own bound counts entries; ours is the bytes.
	kept, err := simplelru.NewLRU[answerKey, Result](math.MaxInt, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &answers{limit: limit, metrics: m, kept: kept}
}

// get gives a row's result if it is known.
func (a *answers) get(k answerKey) (Result, bool) {
	if k == (answerKey{}) || a.limit < 1 {
		return Result{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.kept.Get(k)
	return r.clone(), ok
}

// put keeps a result, without what is about the row that met it.
func (a *answers) put(k answerKey, r Result) {
	if k == (answerKey{}) || a.limit < 1 {
		return
	}
	r = Result{Labels: r.Labels, LogProbs: slices.Clone(r.LogProbs), Generated: r.Generated, Written: r.Written}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept.Contains(k) {
		return
	}
	a.kept.Add(k, r)
	a.bytes += size(k, r)
	for a.bytes > a.limit {
		k, r, _ := a.kept.RemoveOldest()
		a.bytes -= size(k, r)
	}
	a.metrics.keptAnswers.Set(float64(a.bytes))
}

// entryBytes is about what an entry costs beside what it points to: the key and the
// result, twice the pointers of the list, and the map's slot.
const entryBytes = int64(unsafe.Sizeof(answerKey{})+unsafe.Sizeof(Result{})) + 128

// size is about the memory of an entry. Labels and digests are their tasks'.
func size(k answerKey, r Result) int64 {
	return entryBytes + int64(len(k.ids)+8*len(r.LogProbs)+len(r.Generated))
}

// clone shares nothing that a caller may change.
func (r Result) clone() Result {
	r.LogProbs = slices.Clone(r.LogProbs)
	return r
}

// twins tells which of some rows must run, and for each row which of those answers it:
// rows with one key run once.
func twins(rows []*row) (run []*row, by []int) {
	by = make([]int, len(rows))
	seen := make(map[answerKey]int)
	for i, r := range rows {
		if j, ok := seen[r.key]; ok && r.key != (answerKey{}) {
			by[i] = j
			continue
		}
		seen[r.key], by[i] = len(run), len(run)
		run = append(run, r)
	}
	return run, by
}

// spread gives each row the outcome of the one that ran for it.
func spread(outcomes []Outcome, by []int) []Outcome {
	if len(outcomes) == len(by) {
		return outcomes
	}
	out := make([]Outcome, len(by))
	for i, j := range by {
		out[i] = Outcome{outcomes[j].clone(), outcomes[j].Err}
	}
	return out
}
