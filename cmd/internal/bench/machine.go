package bench

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"valence/runtime/torch"
)

// Machine is where it was measured.
type Machine struct {
	CPU         string   `json:"cpu"`
	ISA         []string `json:"isa"` // of the instruction sets that matter here, those that the processor has
	Cores       int      `json:"cores"`
	Threads     int      `json:"threads"` // of ours and of each peer
	MemoryBytes int64    `json:"memory_bytes"`
	Device      string   `json:"device,omitempty"` // the GPU that both sides compute on, if any
}

// Versions are those of what was measured.
type Versions struct {
	Valence  string            `json:"valence"`
	Libtorch string            `json:"libtorch"`
	Go       string            `json:"go"`
	Peers    map[string]string `json:"peers,omitempty"`
}

// peers writes the peers' versions after a comma.
func (v Versions) peers() string {
	var out strings.Builder
	for _, name := range []string{"python", "torch", "transformers", "peft", "ctranslate2"} {
		if v.Peers[name] != "" {
			fmt.Fprintf(&out, ", %s %s", name, v.Peers[name])
		}
	}
	return out.String()
}

// instructionSets are what kernels for products choose by, as Linux names them.
var instructionSets = []string{
	"avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
	"amx_tile", "amx_bf16", "amx_int8",
}

// thisMachine reads what Linux says of itself.
func thisMachine(threads int) Machine {
	m := Machine{
		CPU: field("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Threads: threads, ISA: isa(field("/proc/cpuinfo", "flags")),
	}
	kilobytes, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " ")
	n, _ := strconv.ParseInt(kilobytes, 10, 64) // 0 where it is not known
	m.MemoryBytes = n * 1024
	return m
}

// gpu is the name of a GPU as NVIDIA's driver tells it, or else its number.
func gpu(d torch.Device) string {
	cards, _ := filepath.Glob("/proc/driver/nvidia/gpus/*/information") // the pattern is sound
	if len(cards) == 1 {
		if name := field(cards[0], "Model"); name != "" {
			return name
		}
	}
	return d.String()
}

// isa picks the instruction sets that matter out of all flags.
func isa(flags string) []string {
	out := []string{}
	have := strings.Fields(flags)
	for _, name := range instructionSets {
		if slices.Contains(have, name) {
			out = append(out, name)
		}
	}
	return out
}

// field is what stands behind the first "name:" of a file of /proc, or "".
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
