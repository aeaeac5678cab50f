package main

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"valence/runtime/mt5"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

// baseFlags choose the base and how it runs. Every command that loads a model
// takes them.
type baseFlags struct {
	Base      string            `default:"builtin" help:"The base model: builtin; a folder with config.json, model.safetensors and tokenizer.json; or a repository of the Hugging Face Hub, such as bigscience/mt0-large, with @REVISION if need be." placeholder:"builtin|FOLDER|OWNER/NAME"`
	Adapter   map[string]string `help:"Serve the PEFT IA3 folder under this id; give the flag once for each adapter." placeholder:"ID=FOLDER" mapsep:"," sep:"none"`
	Device    string            `default:"auto" help:"Where the model runs: auto (CUDA if it can be had), cpu, cuda or cuda:N."`
	Dtype     string            `default:"auto" enum:"auto,float32,bfloat16,float16,int8" help:"What the projections are computed in: float32; bfloat16; float16 (weights alone) and int8, on the CPU only; auto is bfloat16 on CUDA and on a CPU that multiplies it (AVX512-BF16 or AMX), on one with AVX512-VNNI int8 for a base that loses nothing by it, such as the builtin one, and float32 on others."`
	Threads   int               `default:"0" help:"CPU threads of an operator; 0 takes one for each core."`
	MaxTokens int               `default:"512" help:"Longest row in tokens, template and end marker included."`
}

// formats are the configured types that a CPU packs weights in.
var formats = map[string]torch.Format{
	"float32": torch.PackedFloat32, "bfloat16": torch.PackedBFloat16, "float16": torch.PackedFloat16, "int8": torch.PackedInt8,
}

// onCPU is how the configured type is computed on this machine's CPU.
func (f *baseFlags) onCPU() mt5.Options {
	o := mt5.Options{DType: torch.Float32, Packed: formats[f.Dtype]}
	switch {
	case f.Dtype == "auto" && torch.FastBFloat16():
		o.Packed = torch.PackedBFloat16
	case f.Dtype == "auto":
		o.Packed = torch.PackedFloat32
	}
	return o
}

// precision resolves the configured type for a device.
func (f *baseFlags) precision(d torch.Device) (mt5.Options, error) {
	switch {
	case !d.IsCUDA():
		return f.onCPU(), nil
	case f.Dtype == "auto", f.Dtype == "bfloat16":
		return mt5.Options{DType: torch.BFloat16}, nil
	case f.Dtype == "float32":
		return mt5.Options{DType: torch.Float32}, nil
	default:
		return mt5.Options{}, fmt.Errorf("--dtype %s is for the CPU only; on %s give auto, float32 or bfloat16", f.Dtype, d)
	}
}

// suited is what precision gave, for a base: in place of float32 auto takes int8 where that is
// faster and the base gives the same answers in it.
func (f *baseFlags) suited(o mt5.Options, base *spec.Config) mt5.Options {
	if f.Dtype == "auto" && o.Packed == torch.PackedFloat32 && base.WideInt8 && torch.FastInt8() {
		o.Packed = torch.PackedInt8
	}
	return o
}

// Validate is called by kong after parsing.
func (f *baseFlags) Validate() error {
	if f.Threads < 0 || f.Threads > 1024 {
		return fmt.Errorf("--threads is %d; allowed are 0 (one for each core) to 1024", f.Threads)
	}
	if f.MaxTokens < 8 || f.MaxTokens > 8192 {
		return fmt.Errorf("--max-tokens is %d; allowed are 8 to 8192", f.MaxTokens)
	}
	for _, id := range slices.Sorted(maps.Keys(f.Adapter)) {
		if f.Adapter[id] == "" {
			return fmt.Errorf("--adapter %s: no folder is given; write --adapter %s=FOLDER", id, id)
		}
	}
	return nil
}

// logFlags choose what a long-running command logs.
type logFlags struct {
	LogLevel  slog.Level `default:"info" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string     `default:"text" enum:"text,json" help:"Format of the log: text or json."`
}

func (f *logFlags) logger(std streams) *slog.Logger {
	o := &slog.HandlerOptions{Level: f.LogLevel}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.err, o))
	}
	return slog.New(slog.NewTextHandler(std.err, o))
}

// quietLog is for commands that end by themselves: it tells of faults only.
func quietLog(std streams) *slog.Logger {
	return slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
