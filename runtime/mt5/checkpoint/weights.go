package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"valence/runtime/mt5/spec"
	"valence/runtime/safetensors"
)

const (
	sharedWeight = "shared.weight"
	headWeight   = "lm_head.weight"
)

// sharedAliases are further names of shared.weight, which some checkpoints hold
// beside it or in its stead.
var sharedAliases = [...]string{"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}

// otherFormats are the files of weights that are not read.
var otherFormats = [...]string{
	"pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "tf_model.h5.index.json",
	"flax_model.msgpack", "flax_model.msgpack.index.json",
}

// attach opens the files of weights and finds the tensors in them. Like
// transformers it takes the single file where an index stands beside it.
func (c *Checkpoint) attach(f folder) error {
	switch {
	case exists(f, singleFile):
		s, err := c.openShard(f, singleFile)
		if err != nil {
			return err
		}
		for _, name := range s.file.Names() {
			c.place(name, s)
		}
		return nil
	case exists(f, indexFile):
		return c.attachIndexed(f)
	}
	for _, name := range otherFormats {
		if exists(f, name) {
			return fmt.Errorf("%s is not read, only safetensors; convert it with transformers 4: "+
				"AutoModelForSeq2SeqLM.from_pretrained(folder).save_pretrained(new_folder, safe_serialization=True)", name)
		}
	}
	return fmt.Errorf("neither %s nor %s: %w", singleFile, indexFile, fs.ErrNotExist)
}

// exists counts a file that cannot be looked at as there, so that opening it tells
// why.
func exists(fsys fs.FS, name string) bool {
	_, err := fs.Stat(fsys, name)
	return !errors.Is(err, fs.ErrNotExist)
}

func (c *Checkpoint) openShard(f folder, name string) (shard, error) {
	file, err := f.weights(name)
	if err != nil {
		return shard{}, err
	}
	s := shard{name, file}
	c.shards = append(c.shards, s)
	return s, nil
}

func (c *Checkpoint) place(tensor string, s shard) bool {
	t, ok := s.file.Tensor(tensor)
	if ok {
		c.tensors[tensor] = located{t, s.name}
	}
	return ok
}

func (c *Checkpoint) attachIndexed(f folder) error {
	files, err := readIndex(f)
	if err != nil {
		return fmt.Errorf("%s: %w", indexFile, err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		s, err := c.openShard(f, name)
		if err != nil {
			return fmt.Errorf("%s names %q: %w", indexFile, name, err)
		}
		for _, tensor := range files[name] {
			if !c.place(tensor, s) {
				return fmt.Errorf("%s places tensor %q in %s, which does not hold it", indexFile, tensor, name)
			}
		}
	}
	return nil
}

// readIndex gives the tensors of each file that the index names.
func readIndex(fsys fs.FS) (map[string][]string, error) {
	data, err := fs.ReadFile(fsys, indexFile)
	if err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	files := map[string][]string{}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		name := index.WeightMap[tensor]
		if path.Base(name) != name || strings.Contains(name, `\`) || !strings.HasSuffix(name, ".safetensors") {
			return nil, fmt.Errorf("weight_map places tensor %q in %q; only .safetensors files beside the index may be named", tensor, name)
		}
		files[name] = append(files[name], tensor)
	}
	if len(files) == 0 {
		return nil, errors.New("weight_map is empty or missing")
	}
	return files, nil
}

// check holds the tensors against the configuration.
func (c *Checkpoint) check() error {
	if err := c.checkShared(); err != nil {
		return err
	}
	if err := c.checkHead(); err != nil {
		return err
	}
	known := map[string]bool{headWeight: true}
	for _, w := range c.Config.Weights() {
		if _, err := c.find(w); err != nil {
			return err
		}
		known[w.Name] = true
	}
	for _, alias := range sharedAliases {
		known[alias] = true
	}
	for _, s := range c.shards {
		for _, name := range s.file.Names() {
			if !known[name] {
				c.unused = append(c.unused, name)
			}
		}
	}
	slices.Sort(c.unused)
	return nil
}

// checkShared looks at shared.weight and its other names. transformers takes their
// values where shared.weight itself is missing and ignores them otherwise.
func (c *Checkpoint) checkShared() error {
	want := spec.Weight{Name: sharedWeight, Shape: []int64{int64(c.Config.VocabSize), int64(c.Config.DModel)}}
	_, named := c.tensors[sharedWeight]
	for _, alias := range sharedAliases {
		t, ok := c.tensors[alias]
		if !ok {
			continue
		}
		if _, err := c.find(spec.Weight{Name: alias, Shape: want.Shape}); err != nil {
			return fmt.Errorf("another name of %s: %w", sharedWeight, err)
		}
		first, ok := c.tensors[sharedWeight]
		if ok && !named && !equal(first.Tensor, t.Tensor) {
			return fmt.Errorf("weight %q is missing, and its other names %q and %q differ", sharedWeight, first.Name, t.Name)
		}
		if !ok {
			c.tensors[sharedWeight] = t
		}
	}
	_, err := c.find(want)
	return err
}

// checkHead tells the cases of the head apart that transformers, by its version,
// answers with another model than the one that was trained.
func (c *Checkpoint) checkHead() error {
	head, ok := c.tensors[headWeight]
	switch {
	case !c.Config.TiedHead && !ok:
		return fmt.Errorf("weight %q is missing, but the head of this model is untied (tie_word_embeddings is false, the default of mt5); "+
			"transformers 5 drops the head of mt5 models when it saves them, so use the original checkpoint or save it again with transformers 4", headWeight)
	case c.Config.TiedHead && ok && !equal(head.Tensor, c.tensors[sharedWeight].Tensor):
		return fmt.Errorf("weight %q differs from %q, but tie_word_embeddings is true (the default of t5), which would throw it away; "+
			"set tie_word_embeddings to false in %s if the model was trained with its own head, or remove the tensor if it was not",
			headWeight, sharedWeight, configFile)
	}
	return nil
}

// equal compares the values of two tensors, which may differ in element type.
func equal(a, b safetensors.Tensor) bool {
	if !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	if a.DType == b.DType {
		return bytes.Equal(a.Data, b.Data)
	}
	x, errX := a.Float32s()
	y, errY := b.Float32s()
	return errX == nil && errY == nil && slices.Equal(x, y)
}
