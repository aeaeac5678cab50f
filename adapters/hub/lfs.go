package hub

import (
	"context"
	"net/http"
)

// lfsMedia is the media type of the Git LFS API.
const lfsMedia = "application/vnd.git-lfs+json"

// object is a file in large file storage, by the Git LFS batch API
// (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md).
type object struct {
	OID  string `json:"oid"` // SHA-256
	Size int    `json:"size"`
}

// action is what the storage wants done with an object.
type action struct {
	Href   string
	Header map[string]string
}

// answered is an object in the storage's answer. Without actions the storage has it.
type answered struct {
	object
	Actions *struct{ Upload, Verify *action }
	Error   *struct {
		Code    int
		Message string
	}
}

// store uploads the content of those files that go to large file storage and are not
// there yet.
func (u *push) store(ctx context.Context, files []planned) error {
	byOID := map[string]planned{}
	ask := struct {
		Operation string            `json:"operation"`
		Transfers []string          `json:"transfers"`
		Objects   []object          `json:"objects"`
		HashAlgo  string            `json:"hash_algo"`
		Ref       map[string]string `json:"ref"`
	}{Operation: "upload", Transfers: []string{"basic"}, HashAlgo: "sha256", Ref: map[string]string{"name": u.revision}}
	for _, f := range files {
		if _, twice := byOID[f.sha256]; f.lfs && !twice {
			byOID[f.sha256] = f
			ask.Objects = append(ask.Objects, object{f.sha256, len(f.Data)})
		}
	}
	if len(ask.Objects) == 0 {
		return nil
	}
	batch := u.endpoint.String() + "/" + u.repo + ".git/info/lfs/objects/batch"
	var told struct{ Objects []answered }
	if err := u.post(ctx, u.target, batch, lfsMedia, ask, &told); err != nil {
		return err
	}
	for _, o := range told.Objects {
		f, ok := byOID[o.OID]
		if !ok {
			return u.fail(ErrCorrupt, nil, "the Hub asks for the unknown object %.70q", o.OID)
		}
		delete(byOID, o.OID)
		if err := u.storeObject(ctx, f, o); err != nil {
			return err
		}
	}
	for _, f := range byOID {
		return u.of(f.Path).fail(ErrCorrupt, nil, "the Hub does not tell where to store it")
	}
	return nil
}

func (u *push) storeObject(ctx context.Context, f planned, o answered) error {
	t := u.of(f.Path)
	switch {
	case o.Error != nil:
		return t.fail(ErrRejected, nil, "the storage refuses it: %d %.200q", o.Error.Code, o.Error.Message)
	case o.Actions == nil || o.Actions.Upload == nil:
		return nil
	case o.Actions.Upload.Header["chunk_size"] != "":
		return t.fail(ErrCorrupt, nil, "the Hub wants it in parts, which was not offered")
	}
	address, err := u.rebase(o.Actions.Upload.Href)
	if err != nil {
		return t.fail(ErrCorrupt, err, "uploading")
	}
	// The address is signed: no token goes along.
	r := &request{target: t, method: http.MethodPut, url: address, header: http.Header{}, body: f.Data}
	for name, value := range o.Actions.Upload.Header {
		r.header.Set(name, value)
	}
	if err := u.do(ctx, r, func(*http.Response) error { return nil }); err != nil {
		return err
	}
	if o.Actions.Verify == nil {
		return nil
	}
	if address, err = u.rebase(o.Actions.Verify.Href); err != nil {
		return t.fail(ErrCorrupt, err, "verifying")
	}
	return u.post(ctx, t, address, lfsMedia, object{f.sha256, len(f.Data)}, nil)
}
