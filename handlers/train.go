package handlers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters"
	"valence/adapters/datasets"
	"valence/adapters/jobs"
)

// headerIdempotencyKey names a request, so that it can be sent again.
const headerIdempotencyKey = "Idempotency-Key"

// maxKeyBytes bounds an idempotency key.
const maxKeyBytes = 255

// planInfo answers a dry run.
type planInfo struct {
	Adapter    string         `json:"adapter"`
	Dataset    datasetInfo    `json:"dataset"`
	Validation *datasetInfo   `json:"validation,omitzero"` // where it is a data set of its own
	Plan       jsontext.Value `json:"plan"`
}

// trainAdapter answers POST /v1/adapters/{id}/train.
func (a *api) trainAdapter(w http.ResponseWriter, r *http.Request) {
	t, err := a.decodeTrain(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if or(t.body.DryRun, false) {
		plan, err := a.plan(r.Context(), t)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		a.respond(w, r, plan)
		return
	}
	job, err := a.submit(r.Context(), t)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/v1/jobs/"+job.ID)
	a.write(w, r, http.StatusAccepted, typeJSON, queuedJob(job))
}

// training is a request to train that is well formed.
type training struct {
	id          string
	body        trainRequest
	key         string // idempotency key, or ""
	fingerprint string // of id and body; "" without a key
}

func (a *api) decodeTrain(r *http.Request) (*training, error) {
	id, err := adapterIDOf(r)
	if err != nil {
		return nil, err
	}
	if _, err := queryOf(r); err != nil {
		return nil, err
	}
	t := &training{id: id, key: r.Header.Get(headerIdempotencyKey)}
	text, err := readBody(r)
	if err == nil {
		err = decodeBody(text, &t.body)
	}
	if err == nil {
		err = a.valid.check(&t.body)
	}
	if err == nil {
		err = t.checkIDs()
	}
	if err == nil && t.key != "" {
		err = t.identify(text)
	}
	if err != nil {
		return nil, err
	}
	return t, a.trainable(r.Context(), id)
}

// identify checks the key and sets the fingerprint, which is the same for bodies that
// differ in nothing but spelling.
func (t *training) identify(body jsontext.Value) error {
	for _, c := range []byte(t.key) {
		if c < 0x21 || c > 0x7e || len(t.key) > maxKeyBytes {
			q := &query{}
			q.fault(headerIdempotencyKey, "invalid", "must be 1 to %d letters, digits or signs of ASCII without spaces, such as a UUID", maxKeyBytes)
			return q.err()
		}
	}
	if err := body.Canonicalize(); err != nil {
		return decodeError(err)
	}
	sum := sha256.Sum256([]byte(t.id + "\n" + string(body)))
	t.fingerprint = hex.EncodeToString(sum[:])
	return nil
}

// trainable tells whether an adapter may get versions. One that is not there may.
func (a *api) trainable(ctx context.Context, id string) error {
	info, err := a.Adapters.Info(ctx, id)
	switch {
	case errors.Is(err, adapters.ErrNotFound):
		return nil
	case err == nil && info.Fixed:
		return fmt.Errorf("%w: %q gets no versions; train under another id", adapters.ErrFixed, id)
	default:
		return err
	}
}

// plan tells what a training would mean. Nothing of what it is asked is kept.
func (a *api) plan(ctx context.Context, t *training) (out *planInfo, err error) {
	in, err := a.gather(ctx, t)
	defer func() { err = errors.Join(err, in.close()) }()
	if err != nil {
		return nil, err
	}
	out = &planInfo{Adapter: t.id, Dataset: datasetInfoOf(in.data)}
	if in.validation.ID != "" {
		info := datasetInfoOf(in.validation)
		out.Validation = &info
	}
	out.Plan, err = a.Jobs.Plan(ctx, in.request(t))
	return out, err
}

// submit queues a training, or finds the job that the same request has made before.
func (a *api) submit(ctx context.Context, t *training) (job jobs.Job, err error) {
	if t.key != "" {
		job, err := a.Jobs.Submitted(ctx, t.key, t.fingerprint)
		if !errors.Is(err, jobs.ErrNotFound) {
			return job, err
		}
	}
	in, err := a.gather(ctx, t)
	defer func() { err = errors.Join(err, in.close()) }()
	if err != nil {
		return jobs.Job{}, err
	}
	job, _, err = a.Jobs.Submit(ctx, in.request(t))
	return job, datasetError(err, in.data.ID)
}

// gathered is what a training learns from.
type gathered struct {
	data       datasets.Dataset
	validation datasets.Dataset // zero where it is a part of data
	draft      *datasets.Draft  // data, where it is not kept yet
}

func (g *gathered) take(draft *datasets.Draft, err error) error {
	if err == nil {
		g.draft, g.data = draft, draft.Dataset
	}
	return err
}

func (g *gathered) close() error {
	if g.draft == nil {
		return nil
	}
	return g.draft.Close()
}

func (g *gathered) request(t *training) jobs.Request {
	d := jobs.Data{Dataset: g.data.ID, Validation: g.validation.ID, Digest: g.data.ID, Blobs: []string{g.data.Content}}
	if g.validation.ID != "" && g.validation.Content != g.data.Content {
		d.Blobs = append(d.Blobs, g.validation.Content)
	}
	r := jobs.Request{Adapter: t.id, Spec: t.body.spec(t.id, g.validation.ID), Data: d, Key: t.key, Fingerprint: t.fingerprint}
	if g.draft != nil {
		r.Keep = g.draft.Keep
	}
	return r
}
