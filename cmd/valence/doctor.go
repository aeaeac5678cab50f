package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"valence/adapters"
	"valence/runtime/engine"
	"valence/runtime/mt5/spec"
	"valence/runtime/torch"
)

type doctorCmd struct {
	baseFlags
	Text   string `default:"I love this phone, the camera is wonderful." help:"The row that is timed."`
	Repeat int    `default:"5" help:"How often it is timed."`
	JSON   bool   `help:"Print one JSON object instead of the table."`
}

// report is everything that doctor finds. Sizes are in bytes, times in seconds.
type report struct {
	Version   string `json:"version"`
	Libtorch  string `json:"libtorch"`
	CPU       string `json:"cpu"`
	Cores     int    `json:"cores"`
	Device    string `json:"device"`
	NoCUDA    string `json:"no_cuda,omitempty"`
	Threads   int    `json:"threads"`
	Dtype     string `json:"dtype"`
	Base      string `json:"base"`
	Digest    string `json:"digest"`
	ModelType string `json:"model_type"`
	Shape     struct {
		DModel        int  `json:"d_model"`
		DFF           int  `json:"d_ff"`
		Heads         int  `json:"heads"`
		DKV           int  `json:"d_kv"`
		EncoderLayers int  `json:"encoder_layers"`
		DecoderLayers int  `json:"decoder_layers"`
		Vocabulary    int  `json:"vocabulary"`
		TiedHead      bool `json:"tied_head"`
	} `json:"shape"`
	BaseParameters int64           `json:"base_parameters"`
	Unused         []string        `json:"unused_tensors,omitempty"`
	WeightBytes    int64           `json:"weight_bytes"`
	LoadSeconds    float64         `json:"load_seconds"`
	Adapters       []adapterReport `json:"adapters"`
	ResidentBytes  int64           `json:"resident_bytes"`
	PeakBytes      int64           `json:"peak_resident_bytes"`
	LiveHandles    int64           `json:"live_handles"`
}

// adapterReport is one adapter (or the base alone) and the timed row with it.
// TrainableParameters are those of the adapter; for the base, those that PEFT's
// default targets would train.
type adapterReport struct {
	ID                  string             `json:"id"`
	TrainableParameters int                `json:"trainable_parameters"`
	AllParameters       int64              `json:"all_parameters"`
	TrainablePercent    float64            `json:"trainable_percent"`
	Tokens              int                `json:"tokens"`
	Label               string             `json:"label"`
	LogProbs            map[string]float64 `json:"log_probabilities"`
	MinSeconds          float64            `json:"min_seconds"`
	MedianSeconds       float64            `json:"median_seconds"`
}

// Run loads the base, times a row with each adapter and prints what it found.
func (c *doctorCmd) Run(ctx context.Context, std streams) (err error) {
	if c.Repeat < 1 {
		return errors.New("--repeat must be at least 1")
	}
	s, err := c.open(ctx, openOptions{log: quietLog(std), progress: byteBar(std, "loading"), fetched: byteBar(std, "fetching"), answers: -1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	r := c.report(s)
	for _, entry := range s.adapters.List() {
		a, err := c.time(ctx, s, entry)
		if err != nil {
			return fmt.Errorf("adapter %s: %w", entry.ID, err)
		}
		r.Adapters = append(r.Adapters, a)
	}
	r.ResidentBytes, r.PeakBytes = memory()
	r.LiveHandles = s.thread.Live()
	if c.JSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.print(std.out, c.Text)
}

func (c *doctorCmd) report(s *stack) *report {
	config := s.base.Config
	r := &report{
		Version: version(), Libtorch: torch.Version(), CPU: cpuName(), Cores: runtime.NumCPU(),
		Device: s.thread.Device().String(), Threads: s.thread.Threads(), Dtype: s.model.Precision(),
		Base: s.base.Name, Digest: s.base.Digest(), ModelType: config.ModelType,
		BaseParameters: config.Parameters(), Unused: s.base.Unused(),
		WeightBytes: s.model.Bytes(), LoadSeconds: s.loaded.Seconds(),
	}
	if s.whyCPU != nil {
		r.NoCUDA = s.whyCPU.Error()
	}
	sh := &r.Shape
	sh.DModel, sh.DFF, sh.Heads, sh.DKV = config.DModel, config.DFF, config.Heads, config.DKV
	sh.EncoderLayers, sh.DecoderLayers = config.EncoderLayers, config.DecoderLayers
	sh.Vocabulary, sh.TiedHead = config.VocabSize, config.TiedHead
	return r
}

func (c *doctorCmd) time(ctx context.Context, s *stack, entry *adapters.Entry) (adapterReport, error) {
	a := adapterReport{ID: entry.ID, TrainableParameters: entry.Parameters, LogProbs: map[string]float64{}}
	if entry.ID == adapters.BaseID {
		a.TrainableParameters = spec.Total(s.base.Config.DefaultSites())
	}
	a.AllParameters = s.base.Config.Parameters() + int64(a.TrainableParameters)
	a.TrainablePercent = 100 * float64(a.TrainableParameters) / float64(a.AllParameters)
	var seconds []float64
	for range c.Repeat + 1 { // the first warms up
		start := time.Now()
		out, err := s.engine.Predict(ctx, []engine.Request{{Text: c.Text, Task: entry.Task, Truncate: true}})
		if err = errors.Join(err, firstErr(out)); err != nil {
			return a, err
		}
		seconds = append(seconds, time.Since(start).Seconds())
		a.take(out[0])
	}
	seconds = seconds[1:]
	slices.Sort(seconds)
	a.MinSeconds, a.MedianSeconds = seconds[0], seconds[len(seconds)/2]
	return a, nil
}

func firstErr(out []engine.Outcome) error {
	for _, o := range out {
		if o.Err != nil {
			return o.Err
		}
	}
	return nil
}

func (a *adapterReport) take(o engine.Outcome) {
	a.Tokens = o.Tokens
	best := math.Inf(-1)
	for i, label := range o.Labels {
		a.LogProbs[label] = o.LogProbs[i]
		if o.LogProbs[i] > best {
			best, a.Label = o.LogProbs[i], label
		}
	}
}

func (r *report) print(out io.Writer, text string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("valence", "%s, libtorch %s", r.Version, r.Libtorch)
	line("processor", "%s, %d cores", r.CPU, r.Cores)
	line("device", "%s, %d threads, %s", r.Device, r.Threads, r.Dtype)
	if r.NoCUDA != "" {
		line("no CUDA", "%s", r.NoCUDA)
	}
	line("base", "%s, %s, %s", r.Base, r.ModelType, r.Digest)
	sh := r.Shape
	line("shape", "d_model %d, d_ff %d, %d heads of %d, %d + %d layers, vocabulary %s, tied head %v",
		sh.DModel, sh.DFF, sh.Heads, sh.DKV, sh.EncoderLayers, sh.DecoderLayers, thousands(int64(sh.Vocabulary)), sh.TiedHead)
	line("parameters", "%s", thousands(r.BaseParameters))
	if len(r.Unused) > 0 {
		line("unused", "%s", strings.Join(r.Unused, ", "))
	}
	line("weights", "%s, loaded in %.2f s", megabytes(r.WeightBytes), r.LoadSeconds)
	for _, a := range r.Adapters {
		line("adapter "+a.ID, "trainable %s, all %s, %.4f %%", thousands(int64(a.TrainableParameters)), thousands(a.AllParameters), a.TrainablePercent)
		line("  one row", "%d tokens, %s, min %.1f ms, median %.1f ms", a.Tokens, a.Label, a.MinSeconds*1e3, a.MedianSeconds*1e3)
		for _, label := range sortedKeys(a.LogProbs) {
			line("    "+label, "%.6f (log-probability %.6f)", math.Exp(a.LogProbs[label]), a.LogProbs[label])
		}
	}
	line("text", "%s", text)
	line("memory", "%s resident, %s at its peak", megabytes(r.ResidentBytes), megabytes(r.PeakBytes))
	line("tensor handles", "%d", r.LiveHandles)
	return w.Flush()
}

func sortedKeys(m map[string]float64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func megabytes(n int64) string { return thousands(n/1e6) + " MB" }

// memory is the process's resident set, now and at its largest, as Linux counts it.
func memory() (now, peak int64) {
	return procField("/proc/self/status", "VmRSS") * 1024, procField("/proc/self/status", "VmHWM") * 1024
}

func procField(path, name string) int64 {
	fields := strings.Fields(procText(path, name))
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n
}

func cpuName() string { return procText("/proc/cpuinfo", "model name") }

// procText is what stands behind the first "name:" of a file of Linux's /proc, or
// "" elsewhere.
func procText(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
