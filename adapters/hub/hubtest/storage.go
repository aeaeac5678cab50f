package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func quote(s string) string     { return `"` + s + `"` }
func size(data []byte) string   { return strconv.Itoa(len(data)) }
func signature(s string) string { return gitHash([]byte(s))[:16] }

// signed is the address of an object in the storage, which asks for no token but for
// the signature.
func (h *Hub) signed(oid string) string {
	return h.storage + "/objects/" + oid + "?Signature=" + signature(oid)
}

// lfs answers the Git LFS batch API.
func (h *Hub) lfs(r *http.Request, id string, rest []string) (answer, *refusal) {
	if _, refused := h.writable(r, id); refused != nil {
		return answer{}, refused
	}
	switch strings.Join(rest, "/") {
	case "lfs/objects/batch":
		return h.batch(r, id)
	case "lfs/objects/verify":
		return h.verify(r)
	}
	return notFound()
}

type object struct {
	OID  string `json:"oid"`
	Size int    `json:"size"`
}

func (h *Hub) batch(r *http.Request, id string) (answer, *refusal) {
	var body struct {
		Operation string
		Transfers []string
		Objects   []object
	}
	if refused := read(r, &body); refused != nil {
		return answer{}, refused
	}
	if body.Operation != "upload" || !slices.Contains(body.Transfers, "basic") {
		return answer{}, badRequest("only basic uploads are known")
	}
	type action map[string]any
	list := []any{}
	for _, o := range body.Objects {
		entry := map[string]any{"oid": o.OID, "size": o.Size}
		if _, ok := h.objects[o.OID]; !ok {
			entry["actions"] = map[string]action{
				"upload": {"href": h.signed(o.OID), "header": map[string]string{"X-Storage-Class": "standard"}},
				"verify": {"href": "http://" + r.Host + "/" + id + ".git/info/lfs/objects/verify", "header": map[string]string{}},
			}
		}
		list = append(list, entry)
	}
	return answer{json: map[string]any{"transfer": "basic", "objects": list}}, nil
}

func (h *Hub) verify(r *http.Request) (answer, *refusal) {
	var o object
	if refused := read(r, &o); refused != nil {
		return answer{}, refused
	}
	if data, ok := h.objects[o.OID]; !ok || len(data) != o.Size {
		return answer{}, &refusal{http.StatusNotFound, "", "The object is not there, or has another size"}
	}
	return answer{json: map[string]any{"message": "ok"}}, nil
}

// store answers a request to the storage, which is another host than the hub.
func (h *Hub) store(r *http.Request) (answer, *refusal) {
	path := segments(r)
	if path[0] != "objects" || len(path) != 2 {
		return notFound()
	}
	oid := path[1]
	if r.URL.Query().Get("Signature") != signature(oid) {
		return answer{}, &refusal{http.StatusForbidden, "", "SignatureDoesNotMatch"}
	}
	if r.Method == http.MethodPut {
		return h.put(r, oid)
	}
	data, ok := h.objects[oid]
	if !ok {
		return notFound()
	}
	return answer{header: map[string]string{"ETag": quote(oid)}, file: nonNil(data)}, nil
}

func (h *Hub) put(r *http.Request, oid string) (answer, *refusal) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, badRequest("the body broke off")
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != oid {
		return answer{}, badRequest("BadDigest")
	}
	h.objects[oid] = data
	return answer{json: map[string]any{}}, nil
}
