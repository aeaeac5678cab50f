package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/go-json-experiment/json"

	"valence/adapters"
	"valence/adapters/peft"
	"valence/cmd/internal/client"
	"valence/runtime/mt5/spec"
)

// kind is a set of labels and how texts are read for it.
type kind struct {
	sidecar *adapters.Sidecar // nil: the default, without a file
}

// kinds differ in labels, in how many steps the decoder takes for them, in template,
// temperature and abstention. Their words are those that every base is asked for.
func kinds() []kind {
	side := func(template string, temperature, abstain float64, labels ...adapters.Label) kind {
		return kind{&adapters.Sidecar{Format: adapters.SidecarFormat, Labels: labels, Template: template, Temperature: temperature, AbstainBelow: abstain}}
	}
	return []kind{
		{},
		side("", 1, 0, adapters.Label{Name: "complaint", Verbaliser: "negative"}, adapters.Label{Name: "praise", Verbaliser: "positive"}),
		side("Review: {text} Sentiment:", 1.7, 0,
			adapters.Label{Name: "up", Verbaliser: "positive"}, adapters.Label{Name: "flat", Verbaliser: "neutral"}, adapters.Label{Name: "down", Verbaliser: "negative"}),
		side("", 0.8, 0.5,
			adapters.Label{Name: "1", Verbaliser: "very negative"}, adapters.Label{Name: "2", Verbaliser: "negative"},
			adapters.Label{Name: "3", Verbaliser: "neutral"}, adapters.Label{Name: "4", Verbaliser: "positive"},
			adapters.Label{Name: "5", Verbaliser: "very positive"}),
	}
}

// maker makes random adapters for a base: the same ones again for the same seed.
type maker struct {
	model  *spec.Config
	config peft.Config
	sites  []spec.Site
	seed   uint64
	spread float64
	kinds  []kind
}

func newMaker(base *client.Base, seed uint64, spread float64) (*maker, error) {
	model, err := spec.ParseConfig(base.Config)
	if err != nil {
		return nil, fmt.Errorf("the server's base: %w", err)
	}
	config := peft.DefaultConfig(model)
	sites, err := config.Sites(model)
	if err != nil {
		return nil, fmt.Errorf("the server's base: %w", err)
	}
	return &maker{model, config, sites, seed, spread, kinds()}, nil
}

// make gives variant v of adapter a. All variants of all adapters differ.
func (m *maker) make(a, v int, k kind) (*peft.Folder, error) {
	vectors, err := m.vectors(rand.New(rand.NewPCG(m.seed, uint64(a)<<16|uint64(v))))
	if err != nil {
		return nil, err
	}
	var sidecar []byte
	if k.sidecar != nil {
		if sidecar, err = json.Marshal(k.sidecar); err != nil {
			return nil, err
		}
	}
	return peft.NewFolder(m.model, m.config, vectors, sidecar)
}

// vectors scatter around 1. Each site has a factor of its own too: independent elements
// alone would average out over a wide layer.
func (m *maker) vectors(random *rand.Rand) (*spec.Vectors, error) {
	data := make([]float32, 0, spec.Total(m.sites))
	for _, site := range m.sites {
		factor := math.Exp(m.spread * random.NormFloat64())
		for range site.Size {
			data = append(data, float32(factor*(1+m.spread*random.NormFloat64())))
		}
	}
	return spec.NewVectors(m.sites, data)
}

// words of many languages and scripts: what they say does not matter, only that rows
// differ in tokens and length.
func words() [][]string {
	return [][]string{
		{"the", "room", "was", "clean", "but", "nobody", "answered", "phone", "and", "loved", "every", "minute", "although", "it", "rained", "awful", "wonderful", "service"},
		{"das", "Zimmer", "war", "sauber", "aber", "niemand", "freundlich", "wunderbar", "schrecklich", "nie", "wieder", "gerne", "Lieferung", "kaputt"},
		{"le", "séjour", "était", "calme", "mais", "personne", "merveilleux", "affreux", "jamais", "livraison", "rapide", "très", "bien"},
		{"el", "servicio", "fue", "excelente", "pero", "nunca", "volveré", "horrible", "maravilloso", "tarde", "roto", "gracias"},
		{"الخدمة", "كانت", "ممتازة", "لكن", "الغرفة", "سيئة", "جدا", "شكرا", "لن", "أعود"},
		{"सेवा", "बहुत", "अच्छी", "थी", "लेकिन", "कमरा", "गंदा", "था", "धन्यवाद"},
		{"服务", "很好", "但是", "房间", "太", "脏", "了", "谢谢", "再也", "不来"},
	}
}

// Adapters come in groups: those of one have the same labels, at least their first
// versions, and are asked the same texts.
const (
	groupTexts = 6 // texts of a group
	maxGroups  = 8
	groupSize  = 3 // adapters of a group, at least; there are more where all groups are made
)

// groupsOf is how many groups a number of adapters makes.
func groupsOf(adapters int) int { return min(maxGroups, max(1, adapters/groupSize)) }

// makeTexts gives the texts of all groups, each once: a third of them a few words, a
// third a sentence, a third a paragraph, in one language each or in several.
func makeTexts(seed uint64, groups int) []string {
	random := rand.New(rand.NewPCG(seed, math.MaxUint64))
	vocabulary := words()
	texts := make([]string, 0, groups*groupTexts)
	for i := range groups * groupTexts {
		length := []int{1 + random.IntN(4), 8 + random.IntN(12), 30 + random.IntN(30)}[i%3]
		language := vocabulary[random.IntN(len(vocabulary))]
		text := ""
		for range length {
			if i%5 == 4 { // mixed languages
				language = vocabulary[random.IntN(len(vocabulary))]
			}
			text += language[random.IntN(len(language))] + " "
		}
		texts = append(texts, fmt.Sprintf("%s(%d)", text, i))
	}
	return texts
}
