package bench

import (
	"math/rand/v2"
	"strings"
)

// What made-up texts consist of. Their sense does not matter, but that the base is not
// equally sure of all of them.
var (
	subjects = []string{"The camera", "This hotel", "Our new printer", "The quarterly profit", "The staff", "Das Zimmer", "Le service", "La comida", "O filme", "Il treno",
		"The plot", "My delivery", "The update", "Their support line", "The board", "Die Lieferung", "L'application", "El vuelo", "The meeting", "A parcel"}
	verdicts = []string{"is wonderful", "is a disaster", "was on time", "opens at nine", "broke after a week", "rose by four per cent", "was friendly beyond words",
		"ist leider kaputt", "est excellent", "es demasiado cara", "foi uma surpresa", "era in ritardo", "takes place on Monday", "was cancelled without notice",
		"could not be better", "is all right, I suppose", "fell to EUR 13.1 mn", "was covered in dust", "made me laugh", "has two doors"}
	links = []string{"and", "but", "although", "while", "because they say that", "as if", "und", "mais", "pero"}
)

// makeTexts makes different texts of one to six clauses: about 6 to 60 tokens. The same
// seed makes the same ones.
func makeTexts(n int, seed uint64) []string {
	random := rand.New(rand.NewPCG(seed, 3))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	seen := map[string]bool{}
	out := make([]string, 0, n)
	for len(out) < n {
		var words []string
		for i := range 1 + random.IntN(6) {
			if i > 0 {
				words = append(words, pick(links))
			}
			words = append(words, pick(subjects), pick(verdicts))
		}
		text := strings.Join(words, " ") + "."
		if !seen[text] {
			seen[text] = true
			out = append(out, text)
		}
	}
	return out
}
