package registry

import (
	"os"
	"testing"

	"valence/adapters"
	"valence/adapters/store"
)

// The card in testdata is read by huggingface_hub's ModelCard: see testdata/check_card.py.
func TestCard(t *testing.T) {
	sidecar, err := adapters.ParseSidecar([]byte(withCanary(2)))
	if err != nil {
		t.Fatal(err)
	}
	sidecar.Template, sidecar.Temperature, sidecar.AbstainBelow = "Review: {text}", 1.5, 0.4
	sidecar.Labels[1].Name = "go|od <b>`\n"
	v := &version{Version: store.Version{
		Number: 3, Digest: "sha256:d16e57", Base: "sha256:ba5e", Sites: 12, Parameters: 1234567, Origin: "job-17",
	}, sidecar: sidecar}
	for name, base := range map[string]string{"card.md": "bigscience/mt0-large", "card-nameless.md": ""} {
		if base == "" {
			v.sidecar = adapters.DefaultSidecar()
		}
		got, err := newCard("alice/reviews", base, v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s:\n%s", name, got)
		}
		v.sidecar = sidecar
	}
}
