package conformance

import (
	"math/rand/v2"

	"valence/cmd/internal/client"
)

// Shapes of a request.
const (
	maxRows   = 8
	maxJurors = 4
)

// part is an adapter that a row names.
type part struct {
	subject  *subject // nil is the base
	revision string
	weight   float64
}

func (p part) ref() string {
	switch {
	case p.subject == nil:
		return baseID
	case p.revision == "":
		return p.subject.id
	default:
		return p.subject.id + "@" + p.revision
	}
}

// asked is a row of a request with what is known of its answer.
type asked struct {
	kind     string // for the report
	text     int    // -1 where mustFail
	parts    []part // several are blended
	strength float64
	jury     []part
	input    client.Input
	// mustFail is the code of the error that the row must get, or "".
	mustFail string
}

// generator makes requests: the same ones again for the same seed, as far as the
// adapters' state goes.
type generator struct {
	run    *run
	random *rand.Rand
	pick   func() *subject
	blends []blend
	alone  bool // one adapter only
	// jurors are the subjects that may sit together, by group.
	jurors map[int][]*subject
}

func (r *run) newGenerator(n int, subjects []*subject) *generator {
	random := rand.New(rand.NewPCG(r.Seed, uint64(n)))
	g := &generator{run: r, random: random, pick: r.picker(random, subjects), alone: len(subjects) == 1, jurors: map[int][]*subject{}}
	if r.Blend && !g.alone {
		g.blends = r.blends()
	}
	for _, s := range subjects {
		if s.steady && s.hub == "" {
			g.jurors[s.group] = append(g.jurors[s.group], s)
		}
	}
	return g
}

// zipfExponent is how steeply rows thin out over adapters.
const zipfExponent = 1.1

// picker gives subjects by the distribution.
func (r *run) picker(random *rand.Rand, subjects []*subject) func() *subject {
	if r.Distribution == Uniform {
		return func() *subject { return subjects[random.IntN(len(subjects))] }
	}
	zipf := rand.NewZipf(random, zipfExponent, 1, uint64(len(subjects)-1))
	return func() *subject { return subjects[zipf.Uint64()] }
}

// averageJury stands in for a jury's size where one adapter is asked in its place.
const averageJury = 3

// request makes the next request.
func (g *generator) request() ([]asked, client.Request) {
	n := 1 + g.random.IntN(maxRows)
	if !g.run.Jury || g.random.IntN(12) > 0 {
		return g.rows(n, g.row)
	}
	if g.alone {
		s := g.pick()
		return g.rows(averageJury*n, func() asked { return g.adapterRow(s) })
	}
	members := g.members()
	if members == nil {
		return g.rows(n, g.row)
	}
	rows, request := g.rows(n, func() asked { return g.jurorRow(members) })
	for _, m := range members {
		request.Jury = append(request.Jury, m.ref())
	}
	return rows, request
}

// rows makes a request of n rows.
func (g *generator) rows(n int, one func() asked) (rows []asked, request client.Request) {
	for range n {
		row := one()
		rows = append(rows, row)
		request.Inputs = append(request.Inputs, row.input)
	}
	return rows, request
}

// members is a jury, or nil where there are too few for one.
func (g *generator) members() []part {
	candidates := g.jurors[g.pick().group]
	if len(candidates) < 2 {
		return nil
	}
	var out []part
	for _, i := range g.random.Perm(len(candidates))[:min(len(candidates), 2+g.random.IntN(maxJurors-1))] {
		out = append(out, part{subject: candidates[i], revision: g.revision(candidates[i]), weight: 1})
	}
	return out
}

func (g *generator) jurorRow(members []part) asked {
	texts := g.run.textsOf(members[0].subject)
	text := texts[g.random.IntN(len(texts))]
	return asked{kind: "jury", text: text, jury: members, strength: 1, input: client.Input{Text: g.run.texts[text]}}
}

// row is a row of any kind.
func (g *generator) row() asked {
	switch k := g.random.IntN(100); {
	case k < 8:
		text := g.random.IntN(len(g.run.texts))
		return g.ask("base", text, 1, part{weight: 1})
	case k < 16:
		return g.failing()
	case k < 24 && len(g.blends) > 0:
		b := g.blends[g.random.IntN(len(g.blends))]
		return g.ask("blend", g.run.textsOf(b.a)[0], 1,
			part{b.a, g.revision(b.a), b.weight}, part{b.b, g.revision(b.b), 1 - b.weight})
	case k < 32 && g.run.Blend:
		if s := g.pick(); dialled(s) {
			return g.ask("strength", g.run.textsOf(s)[0], strengthOf(s), part{s, g.revision(s), 1})
		}
	}
	return g.adapterRow(g.pick())
}

func (g *generator) adapterRow(s *subject) asked {
	texts := g.run.textsOf(s)
	p := part{s, g.revision(s), 1}
	kind := "adapter"
	if p.revision != "" {
		kind = "version"
	}
	return g.ask(kind, texts[g.random.IntN(len(texts))], 1, p)
}

// ask puts a row together.
func (g *generator) ask(kind string, text int, strength float64, parts ...part) asked {
	a := asked{kind: kind, text: text, parts: parts, strength: strength, input: client.Input{Text: g.run.texts[text]}}
	for _, p := range parts {
		a.input.Adapter = append(a.input.Adapter, client.Part{Ref: p.ref(), Weight: p.weight})
	}
	if strength != 1 {
		a.input.Strength = &strength
	}
	return a
}

// revision is none for most rows, else the name or the digest of a version that was
// there a moment ago.
func (g *generator) revision(s *subject) string {
	if g.random.IntN(5) > 0 {
		return ""
	}
	for _, there := range s.timeline.now() {
		for version, digest := range there.versions { // in random order
			if g.random.IntN(2) == 0 {
				return version
			}
			return digestPrefix(digest)
		}
	}
	return ""
}

// Codes of the errors that rows are made to get.
const (
	codeEmptyText = "empty_text"
	codeInvalidID = "invalid_adapter_id"
	codeNotFound  = "adapter_not_found"
)

// failing is a row that must fail alone.
func (g *generator) failing() asked {
	text := g.run.texts[0]
	fail := func(code, text, ref string) asked {
		return asked{kind: "failing", text: -1, mustFail: code, strength: 1, input: client.Input{Text: text, Adapter: client.One(ref)}}
	}
	switch g.random.IntN(4) {
	case 0:
		return fail(codeEmptyText, "", baseID)
	case 1:
		return fail(codeInvalidID, text, "../"+baseID)
	case 2:
		return fail(codeNotFound, text, g.run.prefix+"nobody")
	default:
		return fail(codeNotFound, text, g.pick().id+"@v1000000000")
	}
}
