package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"valence/adapters"
	"valence/handlers/middleware"
)

// change answers a call that takes nothing but an id and gives the adapter as it is
// then.
func (a *api) change(do func(context.Context, string) (adapters.Info, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := adapterIDOf(r)
		if err == nil {
			err = a.decodeOptional(r, new(struct{}))
		}
		a.changed(w, r, err, func(ctx context.Context) (adapters.Info, error) { return do(ctx, id) })
	}
}

// activateRequest is the body of POST /v1/adapters/{id}/activate.
type activateRequest struct {
	Version *string `json:"version" validate:"required"`
}

func (a *api) activateAdapter(w http.ResponseWriter, r *http.Request) {
	var body activateRequest
	id, err := adapterIDOf(r)
	if err == nil {
		err = a.decodeValid(r, &body)
	}
	ref := id + "@" + or(body.Version, "")
	if err == nil {
		err = checkRef(ref, "/version")
	}
	a.changed(w, r, err, func(ctx context.Context) (adapters.Info, error) { return a.Adapters.Activate(ctx, ref) })
}

// changed does what was asked, unless err is why not, and answers with the adapter as
// it is then.
func (a *api) changed(w http.ResponseWriter, r *http.Request, err error, do func(context.Context) (adapters.Info, error)) {
	var info adapters.Info
	if err == nil {
		info, err = do(r.Context())
	}
	if err != nil {
		a.fail(w, r, changeError(err))
		return
	}
	a.respond(w, r, detailOf(info, info.ActiveVersion()))
}

func (a *api) deleteAdapter(w http.ResponseWriter, r *http.Request) {
	ref, err := adapterRefOf(r)
	if err == nil {
		err = a.Adapters.Delete(r.Context(), ref.String())
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// pullRequest is the body of POST /v1/adapters/{id}/pull.
type pullRequest struct {
	Repo     *string `json:"repo"`
	Revision *string `json:"revision"`
	Activate *bool   `json:"activate"`
}

func (a *api) pullAdapter(w http.ResponseWriter, r *http.Request) {
	p, err := a.decodePull(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	done, err := a.Adapters.Pull(r.Context(), p)
	a.published(w, r, done, err)
}

func (a *api) decodePull(r *http.Request) (adapters.PullRequest, error) {
	var body pullRequest
	id, err := adapterIDOf(r)
	if err == nil {
		err = a.decodeOptional(r, &body)
	}
	if err == nil {
		err = checkRepo(id, body.Repo, body.Revision, "/revision")
	}
	return adapters.PullRequest{
		ID: id, Repo: or(body.Repo, ""), Revision: or(body.Revision, ""), Activate: or(body.Activate, true),
		Token: r.Header.Get(middleware.HubTokenHeader),
	}, err
}

// pushRequest is the body of POST /v1/adapters/{id}/push.
type pushRequest struct {
	Repo    *string `json:"repo"`
	Branch  *string `json:"branch"`
	Message *string `json:"message" validate:"omitempty,min=1,max=1000"`
	Create  *bool   `json:"create"`
	Private *bool   `json:"private" validate:"excluded_unless=Create true"`
	Version *string `json:"version"`
}

// pushInfo answers POST /v1/adapters/{id}/push.
type pushInfo struct {
	Repo   string `json:"repo"`
	Branch string `json:"branch"`
	Commit string `json:"commit"`
	URL    string `json:"url"`
}

func (a *api) pushAdapter(w http.ResponseWriter, r *http.Request) {
	p, err := a.decodePush(r)
	var done adapters.Pushed
	if err == nil {
		done, err = a.Adapters.Push(r.Context(), p)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, pushInfo(done))
}

func (a *api) decodePush(r *http.Request) (adapters.PushRequest, error) {
	var body pushRequest
	id, err := adapterIDOf(r)
	if err == nil {
		err = a.decodeOptional(r, &body)
	}
	if err == nil {
		err = checkRepo(id, body.Repo, body.Branch, "/branch")
	}
	ref := id
	if err == nil && body.Version != nil {
		ref += "@" + *body.Version
		err = checkRef(ref, "/version")
	}
	return adapters.PushRequest{
		Ref: ref, Repo: or(body.Repo, ""), Branch: or(body.Branch, ""), Message: or(body.Message, ""),
		Create: or(body.Create, false), Private: or(body.Private, false), Token: r.Header.Get(middleware.HubTokenHeader),
	}, err
}

// checkRepo checks what a body says of a repository, which is the id unless it says
// otherwise.
func checkRepo(id string, repo, revision *string, atRevision string) error {
	name := or(repo, id)
	if repo != nil {
		ref, err := adapters.ParseID(name)
		switch {
		case err != nil:
			return invalid("/repo", codeID, "%s", detail(err))
		case ref.Revision != "":
			return invalid("/repo", codeID, "must be without %q; there is %q for that", "@"+ref.Revision, atRevision[1:])
		}
	}
	if revision != nil {
		return checkRef(name+"@"+*revision, atRevision)
	}
	return nil
}

// checkRef checks a ref whose revision stands at a JSON pointer.
func checkRef(ref, at string) error {
	if _, err := adapters.ParseID(ref); err != nil {
		return invalid(at, codeID, "%s", detail(err))
	}
	return nil
}

// published answers for a version that came from outside.
func (a *api) published(w http.ResponseWriter, r *http.Request, done adapters.Published, err error) {
	var top *adapters.Version
	if err == nil {
		top, err = versionOf(done.Info, done.Version)
	}
	if err != nil {
		a.fail(w, r, changeError(err))
		return
	}
	out := detailOf(done.Info, top)
	out.New = &done.New
	status := http.StatusOK
	if done.New {
		status = http.StatusCreated
		w.Header().Set("Location", fmt.Sprintf("/v1/adapters/%s@%s", url.PathEscape(done.Info.ID), done.Version))
	}
	a.write(w, r, status, typeJSON, out)
}

// decodeValid reads the body into v and checks it.
func (a *api) decodeValid(r *http.Request, v any) error {
	if err := decode(r, v); err != nil {
		return err
	}
	return a.valid.check(v)
}

// decodeOptional is decodeValid for a body whose fields may all be absent: an empty one
// leaves v as it is.
func (a *api) decodeOptional(r *http.Request, v any) error {
	if err := a.decodeValid(r, v); !errors.Is(err, errEmptyBody) {
		return err
	}
	return nil
}
