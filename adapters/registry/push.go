package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"valence/adapters"
	"valence/adapters/hub"
	"valence/adapters/peft"
)

// Push sends a version to a repository of the Hub as a folder that PEFT loads, with its
// valence.json and a model card: the version's own, or one made from what is known of it.
func (r *Registry) Push(ctx context.Context, p adapters.PushRequest) (adapters.Pushed, error) {
	ref, err := r.localRef(p.Ref)
	if err != nil {
		return adapters.Pushed{}, err
	}
	if p.Repo == "" {
		p.Repo = ref.ID
	}
	if !isRepo(p.Repo) {
		return adapters.Pushed{}, fmt.Errorf("%w %q: name the repository to push to as owner/name", adapters.ErrID, p.Repo)
	}
	if r.o.Hub == nil {
		return adapters.Pushed{}, fmt.Errorf("%w: the server has no Hub to push to", adapters.ErrPullForbidden)
	}
	v, err := r.local(ref)
	if err == nil {
		err = r.allow(ctx, v, ref, p.Token)
	}
	if err != nil {
		return adapters.Pushed{}, err
	}
	return r.push(ctx, p, v)
}

func (r *Registry) push(ctx context.Context, p adapters.PushRequest, v *version) (adapters.Pushed, error) {
	files, err := r.pushFiles(ctx, p.Repo, v)
	if err != nil {
		return adapters.Pushed{}, fmt.Errorf("adapter %s@%s: %w", v.Adapter, v.name(), err)
	}
	if p.Message == "" {
		p.Message = fmt.Sprintf("Add %s %s", v.Adapter, v.name())
	}
	if p.Branch == "" {
		p.Branch = hub.DefaultRevision
	}
	commit, err := r.o.Hub.Push(ctx, hub.Push{
		Ref: adapters.Ref{ID: p.Repo, Revision: p.Branch}, Files: uploads(files), Message: p.Message,
		Description: v.Digest, Create: p.Create, Private: p.Private, Token: p.Token,
	})
	if err != nil {
		return adapters.Pushed{}, err
	}
	r.o.Log.InfoContext(ctx, "pushed an adapter", "adapter", v.Adapter, "version", v.name(), "repo", p.Repo, "commit", commit)
	return adapters.Pushed{Repo: p.Repo, Branch: p.Branch, Commit: commit, URL: r.o.HubEndpoint + "/" + p.Repo + "/commit/" + commit}, nil
}

func uploads(files map[string][]byte) []hub.Upload {
	var out []hub.Upload
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, hub.Upload{Path: name, Data: files[name]})
	}
	return out
}

// pushFiles are the files of a version as others may see them: a base that is named by
// its place on somebody's disk is not named.
func (r *Registry) pushFiles(ctx context.Context, repo string, v *version) (map[string][]byte, error) {
	stored, err := r.o.Store.Files(ctx, v.Adapter, v.Number)
	if err != nil {
		return nil, storeError(err)
	}
	folder, err := peft.Read(peft.Files(stored), r.o.Model)
	if err != nil {
		return nil, err
	}
	if ref, err := adapters.ParseID(folder.Config.BaseModel); err != nil || ref.Revision != "" {
		folder.Config.BaseModel = ""
	}
	files, err := folder.Encode()
	if err != nil {
		return nil, err
	}
	if files[cardFile] = stored[cardFile]; files[cardFile] == nil {
		files[cardFile], err = newCard(repo, folder.Config.BaseModel, v)
	}
	return files, err
}
