package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/store"
	"valence/runtime/engine"
)

// errNoFeedback is wrapped by errors about feedback that is not there.
var errNoFeedback = errors.New("no such feedback")

// feedbackID is what ids look like.
var feedbackID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// feedbackRequest is the body of POST /v1/feedback.
type feedbackRequest struct {
	Text      *string `json:"text"      validate:"required"`
	Adapter   *string `json:"adapter"   validate:"required"`
	Label     *string `json:"label"     validate:"required"`
	Version   *string `json:"version"   validate:"omitempty,max=256"`
	Predicted *string `json:"predicted" validate:"omitempty,max=256"`
	Source    *string `json:"source"    validate:"omitempty,max=256"`
}

// feedbackList answers GET /v1/feedback.
type feedbackList struct {
	Feedback []datasets.Feedback `json:"feedback"`      // oldest first
	Next     int64               `json:"next,omitzero"` // "after" of the next page; none of the last one
}

// addFeedback answers POST /v1/feedback.
func (a *api) addFeedback(w http.ResponseWriter, r *http.Request) {
	f, err := a.decodeFeedback(r)
	if err == nil {
		f, err = a.Datasets.AddFeedback(r.Context(), f)
	}
	if errors.Is(err, datasets.ErrInvalid) { // which part, its text says
		err = invalid("", "invalid", "%s", strings.TrimPrefix(detail(err), "invalid data: "))
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.write(w, r, http.StatusCreated, typeJSON, f)
}

func (a *api) decodeFeedback(r *http.Request) (datasets.Feedback, error) {
	var body feedbackRequest
	if err := a.decodeValid(r, &body); err != nil {
		return datasets.Feedback{}, err
	}
	ref, err := adapters.ParseID(*body.Adapter)
	if err == nil && ref.Revision != "" {
		err = fmt.Errorf("%w: %q: feedback is for an adapter as a whole; \"version\" says what answered", adapters.ErrID, ref)
	}
	if err != nil {
		return datasets.Feedback{}, invalid("/adapter", codeID, "%s", detail(err))
	}
	if err := a.checkLabel(r, ref.ID, *body.Label); err != nil {
		return datasets.Feedback{}, err
	}
	return datasets.Feedback{
		Adapter: ref.ID, Text: *body.Text, Label: *body.Label,
		Version: or(body.Version, ""), Predicted: or(body.Predicted, ""), Source: or(body.Source, ""),
	}, nil
}

// checkLabel wants a label that the adapter has, so that a slip of the pen does not
// become a class.
func (a *api) checkLabel(r *http.Request, id, label string) error {
	info, err := a.visible(r, id)
	if err != nil {
		return err
	}
	var known []string
	for _, v := range info.Versions {
		for _, l := range v.Sidecar.Labels {
			if !slices.Contains(known, l.Name) {
				known = append(known, l.Name)
			}
		}
	}
	if !slices.Contains(known, strings.TrimSpace(label)) {
		return fmt.Errorf("%w %q: those of %q are %s", engine.ErrUnknownLabel, label, id, strings.Join(known, ", "))
	}
	return nil
}

// listFeedback answers GET /v1/feedback.
func (a *api) listFeedback(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r, "adapter", "limit", "after")
	if err != nil {
		a.fail(w, r, err)
		return
	}
	id, limit, after := q.id("adapter"), q.limit(defaultPage, maxPage), q.sequence("after")
	if err := q.err(); err != nil {
		a.fail(w, r, err)
		return
	}
	list, err := a.Datasets.ListFeedback(r.Context(), id, after, limit+1)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	out := feedbackList{Feedback: append([]datasets.Feedback{}, list[:min(limit, len(list))]...)}
	if len(list) > limit {
		out.Next = list[limit-1].Number
	}
	a.respond(w, r, out)
}

func (a *api) deleteFeedback(w http.ResponseWriter, r *http.Request) {
	id := pathPart(r, chi.URLParam(r, "id"))
	err := fmt.Errorf("%w: %q", errNoFeedback, id)
	if feedbackID.MatchString(id) {
		if err = a.Datasets.DeleteFeedback(r.Context(), id); errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%w: %q", errNoFeedback, id)
		}
	}
	a.deleted(w, r, err)
}
