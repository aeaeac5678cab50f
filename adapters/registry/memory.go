package registry

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxRemembered bounds a memory: what callers ask for must not fill it.
const maxRemembered = 4096

// memory remembers answers for a while. It is safe for concurrent use.
type memory[V any] struct {
	answers *lru.Cache[string, remembered[V]]
	now     func() time.Time
}

type remembered[V any] struct {
	value V
	until time.Time // the zero time is for good
}

func newMemory[V any](now func() time.Time) *memory[V] {
	answers, err := lru.New[string, remembered[V]](maxRemembered)
	if err != nil {
		panic(err) // of a size below one
	}
	return &memory[V]{answers, now}
}

func (m *memory[V]) get(key string) (V, bool) {
	a, ok := m.answers.Get(key)
	if ok && !a.until.IsZero() && !m.now().Before(a.until) {
		m.answers.Remove(key)
		return *new(V), false
	}
	return a.value, ok
}

// put remembers for a while, or for good where that is 0.
func (m *memory[V]) put(key string, value V, while time.Duration) {
	a := remembered[V]{value: value}
	if while > 0 {
		a.until = m.now().Add(while)
	}
	m.answers.Add(key, a)
}
