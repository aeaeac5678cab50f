package registry

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/adapters/store"
)

// cardFile is the model card, which informs people and changes no answer.
const cardFile = "README.md"

// maxCard bounds a model card in bytes. Package peft bounds the other files.
const maxCard = 1 << 20

// uploadFiles are those that a folder may have.
func uploadFiles() []string {
	return []string{"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "valence.json", cardFile}
}

// Upload makes a folder a new version, once it has passed every check that a load
// makes, in the form that package peft writes. A folder with the digest of a version
// that is there becomes no new one. Errors wrap peft.ErrAdapter, adapters.ErrSidecar,
// ErrCanary, ErrFixed, ErrWrongBase, ErrID or engine.ErrTask, or are those of the store.
func (r *Registry) Upload(ctx context.Context, u adapters.UploadRequest) (adapters.Published, error) {
	id, err := r.localID(u.ID)
	if err != nil {
		return adapters.Published{}, err
	}
	if err := checkUpload(u.Files); err != nil {
		return adapters.Published{}, fmt.Errorf("%w: %w", peft.ErrAdapter, err)
	}
	c, err := r.candidate(ctx, id, peft.Files(u.Files))
	if err != nil {
		return adapters.Published{}, err
	}
	defer r.discard(c)
	c.source, c.activate = store.SourceUpload, u.Activate
	return r.publish(ctx, c)
}

func checkUpload(files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !slices.Contains(uploadFiles(), name) {
			return fmt.Errorf("%.100q: such a file is not part of an adapter; it may have %s", name, strings.Join(uploadFiles(), ", "))
		}
	}
	_, safe := files["adapter_model.safetensors"]
	_, pickled := files["adapter_model.bin"]
	if safe && pickled {
		return fmt.Errorf("there are both adapter_model.safetensors and adapter_model.bin; send one of them")
	}
	return nil
}

// candidate checks a folder and puts it into the form in which it is stored. It is to be
// discarded in the end.
func (r *Registry) candidate(ctx context.Context, id string, from fs.FS) (candidate, error) {
	card, err := readCard(from)
	if err != nil {
		return candidate{}, err
	}
	folder, e, err := r.examine(ctx, id, from)
	if err != nil {
		return candidate{}, fmt.Errorf("adapter %s: %w", id, err)
	}
	c := candidate{folder: folder, entry: e, taken: new(atomic.Bool)}
	if c.files, err = folder.Encode(); err != nil {
		r.discard(c)
		return candidate{}, fmt.Errorf("adapter %s: %w", id, err)
	}
	if card != nil {
		c.files[cardFile] = card
	}
	return c, nil
}

// readCard gives the model card, or nil where there is none.
func readCard(from fs.FS) ([]byte, error) {
	info, err := fs.Stat(from, cardFile)
	if err != nil {
		return nil, nil // absent: an unreadable folder fails at its other files
	}
	if info.Size() > maxCard {
		return nil, fmt.Errorf("%w: %s: its %d bytes are above the limit of %d", peft.ErrAdapter, cardFile, info.Size(), maxCard)
	}
	card, err := fs.ReadFile(from, cardFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", peft.ErrAdapter, cardFile, err)
	}
	return card, nil
}
