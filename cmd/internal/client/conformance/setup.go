package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// uploadAll makes every version of every adapter; the first one is active.
func (r *run) uploadAll(ctx context.Context) error {
	return r.each(ctx, "uploading", r.subjects, func(ctx context.Context, s *subject) error {
		if s.hub != "" {
			return r.firstPull(ctx, s)
		}
		for v := range s.variants {
			if err := r.publish(ctx, s, v, v == 0); err != nil {
				return fmt.Errorf("upload of %s: %w", s.id, err)
			}
		}
		return nil
	})
}

// firstPull learns what the Hub has.
func (r *run) firstPull(ctx context.Context, s *subject) error {
	if err := r.publish(ctx, s, 0, true); err != nil {
		return fmt.Errorf("pull of %s: %w", s.hub, err)
	}
	version, digest, _ := s.timeline.now()[0].resolve("")
	s.used[version] = true
	s.variants = []variant{{digest: digest}}
	return nil
}

// removeNewcomers deletes the adapters that are to appear during the load.
func (r *run) removeNewcomers(ctx context.Context) error {
	var newcomers []*subject
	for _, s := range r.subjects {
		if s.newcomer {
			newcomers = append(newcomers, s)
		}
	}
	return r.each(ctx, "deleting some", newcomers, func(ctx context.Context, s *subject) error {
		if err := r.deleteSubject(ctx, s); err != nil {
			return fmt.Errorf("deletion of %s: %w", s.id, err)
		}
		return nil
	})
}

// audit compares what the server says that there is with what it answered for.
func (r *run) audit(ctx context.Context) error {
	return r.each(ctx, "comparing", r.subjects, func(ctx context.Context, s *subject) error {
		now := s.timeline.now()
		if len(now) != 1 {
			return nil // the outcome of a change is not known, which was reported
		}
		there, err := r.api.Adapter(ctx, s.id)
		if problemStatus(err) == http.StatusNotFound {
			there, err = nil, nil
		}
		if err != nil {
			return err
		}
		if said := snapshotOf(there); !said.equal(now[0]) {
			r.report.wrong(Wrong{Kind: "state", Row: s.id, Detail: fmt.Sprintf("in the end the server has %v; its answers made %v", said, now[0])})
		}
		return nil
	})
}

// equal tells whether the same versions are there, and the same one is active.
func (s snapshot) equal(o snapshot) bool {
	return s.active == o.active && maps.Equal(s.versions, o.versions)
}

// cleanUpFor bounds how long a run takes to delete what it made.
const cleanUpFor = 5 * time.Minute

// cleanUp deletes what the run made, also where ctx has ended, unless it is to be kept.
func (r *run) cleanUp(ctx context.Context) error {
	if r.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpFor)
	defer cancel()
	err := r.each(ctx, "cleaning up", r.subjects, func(ctx context.Context, s *subject) error {
		return r.remove(ctx, s.id)
	})
	if err = errors.Join(err, r.removeRest(ctx)); err != nil {
		return fmt.Errorf("clean-up of %s*: %w", r.prefix, err)
	}
	return nil
}

func (r *run) remove(ctx context.Context, id string) error {
	if err := r.api.Delete(ctx, id); err != nil && problemStatus(err) != http.StatusNotFound {
		return err
	}
	return nil
}

// removeRest deletes what arrived after its deletion: an upload that was cut off here
// may have gone on there.
func (r *run) removeRest(ctx context.Context) error {
	all, err := r.api.Adapters(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		if strings.HasPrefix(a.ID, r.prefix) {
			if err := r.remove(ctx, a.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// textsOf are the texts that a subject is asked: fewer where there are many subjects,
// so that asking all of them alone takes bearable time.
func (r *run) textsOf(s *subject) []int {
	texts := make([]int, min(groupTexts, max(2, rowsAloneAimed/(len(r.subjects)*variants))))
	for i := range texts {
		texts[i] = s.group*groupTexts + i
	}
	return texts
}

// rowsAloneAimed is about how many rows are asked alone.
const rowsAloneAimed = 6000
