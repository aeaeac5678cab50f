package torch

/*
#include <stdlib.h>
#include "gpu.h"
*/
import "C"

import (
	_ "embed"
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

//go:embed common.cu
var gpuCommon string

//go:embed kernels.cu
var gpuKernels string

//go:embed learn.cu
var gpuLearn string

// giveSources hands the kernels to the side that has them compiled.
func giveSources() {
	var texts []*C.char
	for _, source := range []string{gpuCommon, gpuKernels, gpuLearn} {
		text := C.CString(source)
		defer C.free(unsafe.Pointer(text))
		texts = append(texts, text)
	}
	C.vl_gpu_sources(texts[0], texts[1], texts[2])
}

// EmulateGPU has models in bfloat16 on the CPU take the way of a GPU, whose kernels a shared
// library runs, or no more where path is "". It is for tests where there is no GPU.
func EmulateGPU(path string) error {
	var name *C.char
	if path != "" {
		name = C.CString(path)
		defer C.free(unsafe.Pointer(name))
	}
	if C.vl_gpu_emulate(name) != 0 {
		return lastErr()
	}
	return nil
}

// useStream has the calling thread queue on a stream of its own on a GPU, for a priority.
func useStream(d Device, p Priority) error {
	if C.vl_gpu_stream(C.int(d.index()), C.int(boolInt(p == Serving))) != 0 {
		return lastErr()
	}
	return nil
}

// Synchronize waits until the device has done all that was queued, whatever its priority: on
// a GPU, before what work of one priority made is used by that of another, or what another may
// still use is freed.
func (s *Scope) Synchronize() {
	if s.err == nil && s.thread.device.IsCUDA() {
		s.done("synchronize", C.vl_gpu_synchronize(C.int(s.thread.device.index())) != 0)
	}
}

// Fuses tells whether the scope's device can have a GPU of heads of a width, states of d
// numbers and feed-forwards of ff.
func (s *Scope) Fuses(d, width, ff int64) bool {
	if s.err != nil {
		return false
	}
	fits := C.vl_gpu_fits(C.int(s.thread.device.index()), C.int64_t(d), C.int64_t(width), C.int64_t(ff))
	s.done("fits", fits < 0)
	return fits > 0
}

// GPUWeights are a model's in bfloat16: matrices [out, in], those of one input joined.
type GPUWeights struct {
	Embeddings, Head         Tensor // [vocabulary, D]
	EncoderNorm, DecoderNorm Tensor // the final ones
	Encoder                  []GPUEncoderLayer
	Decoder                  []GPUDecoderLayer
	Heads                    int
	Gated                    bool
	Activation               Activation
	Start                    int32 // the decoder's start token
	Epsilon, HeadScale       float64
}

// GPUFeedForward has WI [2 FF, D] where it is gated, else [FF, D], and WO [D, FF].
type GPUFeedForward struct{ Norm, WI, WO Tensor }

// GPUEncoderLayer has QKV [3 H*K, D] and O [D, H*K].
type GPUEncoderLayer struct {
	Norm, QKV, O Tensor
	FF           GPUFeedForward
}

// GPUDecoderLayer has the self-attention's QKV and O as an encoder's layer, and of the attention
// to the encoder's states Q [H*K, D], KV [2 H*K, D] and O.
type GPUDecoderLayer struct {
	SelfNorm, SelfQKV, SelfO Tensor
	Norm, Q, KV, O           Tensor
	FF                       GPUFeedForward
}

// GPU is a model's forward on a GPU up to the decoder's first step, queued as a whole. It
// belongs to the Scope that made it.
type GPU struct{ c C.vl_gpu }

// Defined tells whether there is one.
func (g GPU) Defined() bool { return g.c != nil }

// NewGPU has the kernels compiled for the scope's device, which takes half a second, and keeps
// the weights.
func (s *Scope) NewGPU(w *GPUWeights) GPU {
	encoder, decoder := w.handles()
	if !s.ok(append(append([]Tensor{w.Embeddings, w.Head, w.EncoderNorm, w.DecoderNorm}, encoder...), decoder...)...) {
		return GPU{}
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	enc, dec := handles(bare(encoder)), handles(bare(decoder))
	pin.Pin(enc)
	pin.Pin(dec)
	c := C.vl_gpu_weights{
		encoder_layers: C.int(len(w.Encoder)), decoder_layers: C.int(len(w.Decoder)), heads: C.int(w.Heads), gated: C.int(boolInt(w.Gated)),
		activation: C.int(w.Activation), start: C.int32_t(w.Start), eps: C.double(w.Epsilon), head_scale: C.double(w.HeadScale),
		embeddings: handle(w.Embeddings), head: handle(w.Head), encoder_norm: handle(w.EncoderNorm), decoder_norm: handle(w.DecoderNorm),
		encoder: enc, decoder: dec,
	}
	g := GPU{C.vl_gpu_new(&c)}
	if g.c == nil {
		s.done("gpu", true)
		return GPU{}
	}
	s.gpus = append(s.gpus, g)
	s.thread.live.Add(1)
	return g
}

// handles lists the layers' tensors as gpu.h has them.
func (w *GPUWeights) handles() (encoder, decoder []Tensor) {
	for _, l := range w.Encoder {
		encoder = append(encoder, l.Norm, l.QKV, l.O, l.FF.Norm, l.FF.WI, l.FF.WO)
	}
	for _, l := range w.Decoder {
		decoder = append(decoder, l.SelfNorm, l.SelfQKV, l.SelfO, l.Norm, l.Q, l.KV, l.O, l.FF.Norm, l.FF.WI, l.FF.WO)
	}
	return encoder, decoder
}

func (s *Scope) freeGPUs() {
	for _, g := range s.gpus {
		C.vl_gpu_free(g.c)
		s.thread.live.Add(-1)
	}
	s.gpus = nil
}

// Place tells g where adapters' vectors are: table [slots, width] float32, slot 0 all ones, or
// none while all rows are of slot 0; it must stay until the next call. The vectors of
// projection i's input begin in column columns[i][0], those of its output in columns[i][1], -1
// stands for none; projections are numbered as they follow in a checkpoint. distances are those
// of the longest text to come. What was recorded is forgotten.
func (s *Scope) Place(g GPU, table Tensor, columns [][2]int64, distances Tensor) {
	if !s.ok(distances) {
		return
	}
	s.done("place", C.vl_gpu_adapters(g.c, handle(table), (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(columns))), C.int(len(columns)), handle(distances)) != 0)
}

// GPUBatch is texts end to end, each with its length and the slot of its adapter.
type GPUBatch struct {
	IDs            []int32
	Lengths, Slots []int64
}

// States are the encoder's of a batch: [tokens, D].
func (s *Scope) States(g GPU, b *GPUBatch) Tensor {
	if s.err != nil {
		return Tensor{}
	}
	return s.own(ctensor(C.vl_gpu_encode(g.c, (*C.int32_t)(unsafe.SliceData(b.IDs)), sizes(b.Lengths), sizes(b.Slots), C.int(len(b.Lengths)))))
}

// FirstLogits gives the logits of tokens next after the start token, [texts][next] one after
// the other. A small batch whose shape came before is replayed from a record. It waits for the
// device.
func (s *Scope) FirstLogits(g GPU, b *GPUBatch, next []int64) ([]float32, error) {
	n := len(b.Lengths)
	if s.err != nil || n == 0 || len(next) == 0 {
		return nil, s.err
	}
	out := make([]float32, n*len(next))
	status := C.vl_gpu_score(g.c, (*C.int32_t)(unsafe.SliceData(b.IDs)), sizes(b.Lengths), sizes(b.Slots), C.int(len(b.Lengths)),
		sizes(next), C.int(len(next)), (*C.float)(unsafe.SliceData(out)))
	if s.done("score", status != 0); s.err != nil {
		return nil, fmt.Errorf("torch: %w", s.err)
	}
	return out, nil
}

// Records is how many shapes of batches are recorded.
func (g GPU) Records() int { return int(C.vl_gpu_records(g.c)) }

// Unrecorded is why shapes are no longer recorded, as that failed once, or "".
func (g GPU) Unrecorded() string {
	why, _, _ := strings.Cut(C.GoString(C.vl_gpu_unrecorded(g.c)), "\n") // what follows is a C++ stack
	return why
}
