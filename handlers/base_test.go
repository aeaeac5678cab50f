package handlers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"valence/adapters/peft"
	"valence/runtime/mt5/spec"
)

// TestBase makes an adapter from nothing but the answer, which the base then takes.
func TestBase(t *testing.T) {
	s := serve(t, nil)
	a := s.do(http.MethodGet, "/v1/base", "")
	var got struct {
		Name, Digest, Device string
		Config               jsontext.Value
		Parameters           int64
		IA3                  struct {
			Parameters int
			Tensors    []struct {
				Name  string
				Shape []int64
			}
		} `json:"ia3"`
	}
	if err := json.Unmarshal(a.body, &got, json.MatchCaseInsensitiveNames(true)); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v: %s", a.StatusCode, err, a.body)
	}
	base := testBase()
	if got.Name != "small" || got.Digest != "sha256:ba5e" || got.Device != "cpu" || got.Parameters != base.Config.Parameters() {
		t.Errorf("%s", a.body)
	}
	model, err := spec.ParseConfig(got.Config)
	if err != nil || *model != *base.Config {
		t.Fatalf("the configuration is %+v, %v", model, err)
	}
	sites := base.Config.DefaultSites()
	if len(got.IA3.Tensors) != len(sites) || got.IA3.Parameters != spec.Total(sites) {
		t.Fatalf("%+v", got.IA3)
	}
	data := make([]float32, got.IA3.Parameters)
	vectors, err := spec.NewVectors(sites, data)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := peft.NewFolder(model, peft.DefaultConfig(model), vectors, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := folder.Encode()
	if err != nil {
		t.Fatal(err)
	}
	weights := string(files["adapter_model.safetensors"])
	for _, tensor := range got.IA3.Tensors {
		if !strings.Contains(weights, `"`+tensor.Name+`"`) {
			t.Errorf("an adapter for it has no tensor %q", tensor.Name)
		}
	}
}

func TestBaseTakesNoQuery(t *testing.T) {
	p := serve(t, nil).do(http.MethodGet, "/v1/base?limit=3", "").problem(t, 422, codeInvalid)
	if len(p.Errors) != 1 || p.Errors[0].Parameter != "limit" {
		t.Errorf("%+v", p)
	}
}
