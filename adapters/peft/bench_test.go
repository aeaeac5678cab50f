package peft

import (
	"testing"

	"valence/runtime/mt5/spec"
)

// large is bigscience/mt0-large.
const large = `{"model_type":"mt5","vocab_size":250112,"d_model":1024,"d_kv":64,"d_ff":2816,"num_layers":24,
	"num_decoder_layers":24,"num_heads":16,"feed_forward_proj":"gated-gelu","tie_word_embeddings":false}`

// BenchmarkRead is what a miss of the cache computes: an adapter of 1.1 MB.
func BenchmarkRead(b *testing.B) {
	model, err := spec.ParseConfig([]byte(large))
	if err != nil {
		b.Fatal(err)
	}
	sites := model.DefaultSites()
	vectors, err := spec.NewVectors(sites, make([]float32, spec.Total(sites)))
	if err != nil {
		b.Fatal(err)
	}
	folder, err := NewFolder(model, DefaultConfig(model), vectors, nil)
	if err != nil {
		b.Fatal(err)
	}
	files, err := folder.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(Files(files), model); err != nil {
			b.Fatal(err)
		}
	}
}
