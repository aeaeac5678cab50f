package jobs

import "sync"

// signals tells those who wait that there is something new about a job. Its zero value
// is ready.
type signals struct {
	mu      sync.Mutex
	waiting map[string]*watched
}

type watched struct {
	told    chan struct{}
	waiters int
}

// wait gives a channel that is closed at the next tell. forget must be called.
func (s *signals) wait(job string) (told <-chan struct{}, forget func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[string]*watched{}
	}
	w := s.waiting[job]
	if w == nil {
		w = &watched{told: make(chan struct{})}
		s.waiting[job] = w
	}
	w.waiters++
	return w.told, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if w.waiters--; w.waiters == 0 && s.waiting[job] == w {
			delete(s.waiting, job)
		}
	}
}

func (s *signals) tell(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.waiting[job]; w != nil {
		delete(s.waiting, job)
		close(w.told)
	}
}
