// Package builtin is the base that ships inside the binary: a small multilingual mT5 for sentiment, with
// its tokenizer, labels and calibration, so that the server answers with nothing downloaded.
//
// base/README.md is its model card, train/ holds the scripts that made it, and testdata/reference.json
// what transformers answers for it. adapters/ has IA3 adapters that were trained on it; README.md there tells of
// them.
package builtin

import (
	"embed"
	"io/fs"
)

//go:embed base adapters/*/*
var files embed.FS

// Base returns the embedded base, laid out as a folder of transformers: config.json, model.safetensors in
// float16, tokenizer.json, tokenizer_config.json, generation_config.json, the sidecar valence.json and the
// model card README.md, all at its root. It is read-only and safe for concurrent use.
func Base() fs.FS {
	base, err := fs.Sub(files, "base")
	if err != nil {
		// Only an invalid path makes Sub fail, and this one is a constant.
		panic(err)
	}
	return base
}

// AdapterPrefix begins the ids of the embedded adapters.
const AdapterPrefix = "valence/"

// Adapters returns the embedded adapters by id, each laid out as a folder of PEFT: adapter_config.json,
// adapter_model.safetensors, the sidecar valence.json and the model card README.md, all at its root.
func Adapters() map[string]fs.FS {
	folders, err := fs.ReadDir(files, "adapters")
	if err != nil {
		panic(err) // the folder is embedded
	}
	out := make(map[string]fs.FS, len(folders))
	for _, f := range folders {
		if out[AdapterPrefix+f.Name()], err = fs.Sub(files, "adapters/"+f.Name()); err != nil {
			panic(err) // only an invalid path makes Sub fail
		}
	}
	return out
}
