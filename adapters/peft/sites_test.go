package peft

import (
	"slices"
	"strings"
	"testing"

	"valence/runtime/mt5/spec"
)

// matchCase is one choice of modules and what PEFT makes of it; see testdata/make.py.
type matchCase struct {
	Target      Modules `json:"target_modules"`
	FeedForward Modules `json:"feedforward_modules"`
	Exclude     Modules `json:"exclude_modules"`
	Sites       string
	Error       string
	Refused     bool
}

func TestSitesEqualPEFT(t *testing.T) {
	var cases map[string][]matchCase
	decodeFixture(t, "matching.json", &cases)
	if len(cases["mt5"]) < 70 || len(cases["t5"]) < 70 {
		t.Fatalf("%d and %d cases", len(cases["mt5"]), len(cases["t5"]))
	}
	for name, rows := range cases {
		model := base(t, name)
		for _, c := range rows {
			config := Config{Target: c.Target, FeedForward: c.FeedForward, Exclude: c.Exclude}
			sites, err := config.Sites(model)
			what := name + " " + c.Target.String() + " " + c.FeedForward.String() + " " + c.Exclude.String()
			switch {
			case c.Refused || c.Error != "":
				if err == nil {
					t.Errorf("%s: no error; PEFT: %s%s", what, c.Error, c.Sites)
					continue
				}
				wants(t, err, "_modules")
			case err != nil:
				t.Errorf("%s: %v; PEFT: %s", what, err, c.Sites)
			case marks(model, sites) != c.Sites:
				t.Errorf("%s: %s; PEFT: %s", what, marks(model, sites), c.Sites)
			}
		}
	}
}

// marks writes sites as matching.json does.
func marks(model *spec.Config, sites []spec.Site) string {
	var b strings.Builder
	for _, l := range model.Linears() {
		i := slices.IndexFunc(sites, func(s spec.Site) bool { return s.Module == l.Module })
		switch {
		case i < 0:
			b.WriteByte('.')
		case sites[i].Input:
			b.WriteByte('i')
		default:
			b.WriteByte('o')
		}
	}
	return b.String()
}

func (m Modules) String() string {
	text, _ := m.MarshalJSON()
	return string(text)
}

func TestOtherModulesEqualTransformers(t *testing.T) {
	for _, name := range []string{"mt5", "t5"} {
		var want []string
		decodeFixture(t, name+"/modules.json", &want)
		if got := otherModules(base(t, name)); !slices.Equal(got, want) {
			t.Errorf("%s:\n%q, want\n%q", name, got, want)
		}
	}
}

func TestSitesErrors(t *testing.T) {
	pattern := func(p string) Modules { return Modules{Pattern: &p} }
	for name, c := range map[string]struct {
		config Config
		want   []string
	}{
		"head":               {Config{Target: Modules{Names: []string{"lm_head"}}}, []string{"lm_head", "not supported"}},
		"embedding":          {Config{Target: Modules{Names: []string{"shared"}}}, []string{"shared", "not a projection"}},
		"nothing":            {Config{Target: Modules{Names: []string{"absent"}}}, []string{"no projection"}},
		"not a subset":       {Config{Target: Modules{Names: []string{"k"}}, FeedForward: Modules{Names: []string{"wo"}}}, []string{"feedforward_modules", `"wo"`}},
		"lookahead":          {Config{Target: pattern("(?!x).*k")}, []string{"target_modules", "(?!x)"}},
		"lookahead in ff":    {Config{FeedForward: pattern("(?=x)")}, []string{"feedforward_modules", "(?=x)"}},
		"lookahead in excl.": {Config{Exclude: pattern("(?<!x)")}, []string{"exclude_modules", "(?<!x)"}},
		"unbalanced":         {Config{Target: pattern("(k")}, []string{"target_modules", "missing closing )"}},
		"too large":          {Config{Target: pattern("(.?k.?k.?k.?k.?k){900}")}, []string{"target_modules", "too large", "8192"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.config.Sites(base(t, "mt5"))
			wants(t, err, c.want...)
		})
	}
}

func TestCompile(t *testing.T) {
	for name, c := range map[string]struct {
		pattern, text string
		match         bool
	}{
		"whole text":           {"b", "abc", false},
		"alternatives":         {"a|b", "ab", false},
		"either":               {"a|b", "b", true},
		"class with a bracket": {"[]a]+", "]a]", true},
		"negated, bracket":     {"[^]a]+", "bc", true},
		"group in a class":     {"[(?x]+", "(?x", true},
		"bracket in a class":   {"[[a]+", "[a", true},
		"escaped bracket":      {`\[:a`, "[:a", true},
		"escaped in a class":   {`[\]:]+`, "]:", true},
		"flags of a group":     {"(?i:a)b", "Ab", true},
		"flags switched off":   {"(?i)a(?-i:b)", "AB", false},
		"named group":          {"(?P<n>a)", "a", true},
		"repetition":           {"a{0,2}", "aa", true},
		"a brace":              {"a{b", "a{b", true},
		"escaped punctuation":  {`a\.\-\_`, "a.-_", true},
	} {
		t.Run(name, func(t *testing.T) {
			re, err := compile(c.pattern)
			if err != nil {
				t.Fatal(err)
			}
			if got := re.MatchString(c.text); got != c.match {
				t.Errorf("%q on %q: %v", c.pattern, c.text, got)
			}
		})
	}
	for _, p := range []string{
		"(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?<n>a)", "(?P=n)", "(?>a)", "(?#a)", "(?x)a", "(?U)a", "a(?i)b", "(?P>n)",
		`\1`, `\0`, `\Z`, `\z`, `\Qa\E`, `\pL`, `\C`, `\x{61}`, `\u0061`, `\N`, "a{,2}", "[[:alpha:]]", "[a[:digit:]]",
		"a)(b", "(", "[", `\`, "a**", "a++", "a{2,1}", "a{2000}",
	} {
		if _, err := compile(p); err == nil {
			t.Errorf("%q: no error", p)
		}
	}
}
