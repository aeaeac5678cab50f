package hub

import (
	"path/filepath"
	"reflect"
	"testing"
)

func TestFromEnv(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		home string
		want Options
	}{
		{"nothing", nil, "/home/a", Options{CacheDir: "/home/a/.cache/huggingface/hub"}},
		{"all", map[string]string{"HF_ENDPOINT": "https://mirror.example/hf/", "HF_TOKEN": "t", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "/c"}, "",
			Options{Endpoint: "https://mirror.example/hf/", Token: "t", Offline: true, CacheDir: "/c"}},
		{"older names", map[string]string{"HUGGING_FACE_HUB_TOKEN": "t", "TRANSFORMERS_OFFLINE": "yes", "HUGGINGFACE_HUB_CACHE": "/c"}, "/h",
			Options{Token: "t", Offline: true, CacheDir: "/c"}},
		{"newer names come first", map[string]string{"HF_TOKEN": "n", "HUGGING_FACE_HUB_TOKEN": "o", "HF_HUB_OFFLINE": "off",
			"TRANSFORMERS_OFFLINE": "1", "HF_HUB_CACHE": "/n", "HUGGINGFACE_HUB_CACHE": "/o", "HF_HOME": "/p"}, "/h",
			Options{Token: "n", CacheDir: "/n"}},
		{"HF_HOME", map[string]string{"HF_HOME": "/data/hf", "XDG_CACHE_HOME": "/x"}, "/h", Options{CacheDir: "/data/hf/hub"}},
		{"XDG", map[string]string{"XDG_CACHE_HOME": "/x"}, "/h", Options{CacheDir: "/x/huggingface/hub"}},
		{"home and variables in paths", map[string]string{"HF_HOME": "~/$USER/${X}/$NONE", "USER": "u", "X": "x"}, "/h",
			Options{CacheDir: "/h/u/x/$NONE/hub"}},
		{"empty is unset", map[string]string{"HF_HUB_CACHE": "", "HF_HOME": "", "HF_TOKEN": ""}, "/h", Options{CacheDir: "/h/.cache/huggingface/hub"}},
	} {
		got, err := FromEnv(func(name string) string { return tt.env[name] }, tt.home)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

func TestFromEnvRefuses(t *testing.T) {
	_, err := FromEnv(func(name string) string { return map[string]string{"HF_HUB_OFFLINE": "maybe"}[name] }, "/h")
	expect(t, err, ErrInvalid, `HF_HUB_OFFLINE is "maybe"`, "true")
	_, err = FromEnv(func(string) string { return "" }, "")
	expect(t, err, ErrInvalid, "HF_HUB_CACHE")
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		says string
	}{
		{Options{}, "CacheDir"},
		{Options{CacheDir: "c", Endpoint: "huggingface.co"}, "HF_ENDPOINT"},
		{Options{CacheDir: "c", Endpoint: "ftp://huggingface.co"}, "HF_ENDPOINT"},
		{Options{CacheDir: "c", Endpoint: "https://"}, "HF_ENDPOINT"},
		{Options{CacheDir: "c", Endpoint: "https://hf_me:hf_secret@huggingface.co"}, "HF_ENDPOINT"},
		{Options{CacheDir: "c", Endpoint: "https://huggingface.co/?token=hf_secret"}, "HF_ENDPOINT"},
		{Options{CacheDir: "c", Token: "hf_a\nb"}, "HF_TOKEN"},
		{Options{CacheDir: "c", Token: "hf_ä"}, "HF_TOKEN"},
		{Options{CacheDir: "c", MaxBytes: -1}, "MaxBytes"},
		{Options{CacheDir: "c", Timeout: -1}, "Timeout"},
	} {
		_, err := New(tt.o)
		// The variable's own name is no secret.
		expect(t, err, ErrInvalid, tt.says)
	}
}

func TestNewDefaults(t *testing.T) {
	c, err := New(Options{CacheDir: "relative", Token: " hf_x\n"})
	if err != nil {
		t.Fatal(err)
	}
	o := c.o
	if o.Endpoint != DefaultEndpoint || o.Token != "hf_x" || o.MaxBytes != DefaultMaxBytes || o.Timeout != DefaultTimeout ||
		o.StallTimeout != DefaultStallTimeout || o.Retries != DefaultRetries || !filepath.IsAbs(o.CacheDir) {
		t.Errorf("%+v", o)
	}
}

// A mirror's path stays in front of every address.
func TestEndpointWithPath(t *testing.T) {
	c := newClient(t, nil, func(o *Options) { o.Endpoint = "https://mirror.example/hf/" })
	if got := c.api("a/b", "revision", "refs/pr/1"); got != "https://mirror.example/hf/api/models/a/b/revision/refs%2Fpr%2F1" {
		t.Error(got)
	}
	if got := c.resolveURL("a/b", "c", "sub dir/ä#?.json"); got != "https://mirror.example/hf/a/b/resolve/c/sub%20dir/%C3%A4%23%3F.json" {
		t.Error(got)
	}
	if got, err := c.rebase(DefaultEndpoint + "/a/b.git/info/lfs/objects/verify"); err != nil || got != "https://mirror.example/hf/a/b.git/info/lfs/objects/verify" {
		t.Error(got, err)
	}
}
