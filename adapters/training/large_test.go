package training

import (
	"flag"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"valence/runtime/builtin"
	"valence/runtime/tokenizer"
)

// go test ./adapters/training -run TestLarge -v -large 100000
var large = flag.Int("large", 0, "rows that TestLarge takes in and plans")

// TestLarge tells how long it takes to take in and plan many rows, and in how much memory.
func TestLarge(t *testing.T) {
	if *large == 0 {
		t.Skip("-large gives no number of rows")
	}
	f := open(t)
	text, err := fs.ReadFile(builtin.Base(), "tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	if f.o.Tokenizer, err = tokenizer.Parse(text); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("text,label\n")
	for i := range *large {
		fmt.Fprintf(&b, "\"Parcel %d came on day %d, and the driver who brought it was %s to my neighbour, the shop says.\",%s\n",
			i, i%31, []string{"rude", "introduced", "kind"}[i%3], []string{"negative", "neutral", "positive"}[i%3])
	}
	csv := b.String()
	begin := time.Now()
	d := f.put(t, csv)
	taken := time.Since(begin)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin = time.Now()
	if _, err := f.Plan(t.Context(), "a", small(), d); err != nil {
		t.Fatal(err)
	}
	planned := time.Since(begin)
	runtime.ReadMemStats(&after)
	t.Logf("%d rows, %d bytes: taken in in %.1f s, planned in %.1f s; %d MB allocated for the plan, %d MB from the system at most",
		*large, len(csv), taken.Seconds(), planned.Seconds(), (after.TotalAlloc-before.TotalAlloc)>>20, after.Sys>>20)
}
