package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"valence/adapters/datasets/table"
	"valence/cmd/internal/client"
)

// trainData says how a file becomes texts and labels.
type trainData struct {
	Format       string            `env:"-" enum:",csv,tsv,jsonl,parquet" default:"" help:"Format of the data, where the file's name does not tell it: csv, tsv, jsonl or parquet." placeholder:"FORMAT"`
	Encoding     string            `env:"-" help:"Encoding of the characters, such as iso-8859-1; UTF-8 by default." placeholder:"NAME"`
	TextColumn   string            `env:"-" help:"Column or key that holds the text, by name or number from 1." placeholder:"COLUMN"`
	LabelColumn  string            `env:"-" help:"Column or key that holds the label, likewise." placeholder:"COLUMN"`
	LabelMap     map[string]string `env:"-" mapsep:"none" help:"Label that a value of that column stands for; give the flag once for each." placeholder:"VALUE=LABEL"`
	DropUnmapped bool              `env:"-" help:"Leave out rows with a value that --label-map lacks."`
	DropEmpty    bool              `env:"-" help:"Leave out rows without a text or label."`
	Header       bool              `env:"-" default:"true" negatable:"" help:"Whether the first row of CSV or TSV names the columns."`
	Delimiter    string            `env:"-" help:"Character between the fields of CSV or TSV." placeholder:"CHARACTER"`
	Quotes       string            `env:"-" enum:",rfc4180,loose,none" default:"" help:"What a double quote means in CSV or TSV: rfc4180, loose or none." placeholder:"KIND"`
	Validation   string            `env:"-" help:"What is measured on and not learnt from: a part of the rows, such as 0.1, or 0 for none, or another file." placeholder:"PART|FILE"`
}

// trainRecipe says how it is learnt. Zero values are left to the server: the published recipe.
type trainRecipe struct {
	Objective       string            `env:"-" enum:",seq2seq,labels" default:"" help:"seq2seq learns to write the label, as the published recipe does; labels learns to tell them apart, which is cheaper." placeholder:"seq2seq|labels"`
	Epochs          int               `env:"-" help:"Times that every row is learnt from; 3 by default." placeholder:"N"`
	BatchSize       int               `env:"-" help:"Rows of a step; 8 by default." placeholder:"N"`
	LearningRate    []float64         `env:"-" help:"0.008 by default. Several make a run each, side by side, of which the best is kept." placeholder:"RATE"`
	Seed            []int64           `env:"-" help:"Of the split and the order; 0 by default. Several make a run each." placeholder:"N"`
	CrossValidation int               `env:"-" help:"Folds that are measured on one another." placeholder:"FOLDS"`
	EarlyStop       int               `env:"-" help:"End after so many epochs that are no better, and keep the best." placeholder:"N"`
	ClassWeights    bool              `env:"-" help:"Let labels weigh the same, however many rows they have."`
	Dropout         bool              `env:"-" help:"Drop activations at the rate of the base's configuration."`
	MaxTokens       int               `env:"-" help:"Longest text in tokens; longer ones are cut. 128 by default." placeholder:"N"`
	Verbaliser      map[string]string `env:"-" mapsep:"none" help:"What the model learns to write for a label; give the flag once for each." placeholder:"LABEL=TEXT"`
	WarmStartFrom   string            `env:"-" help:"Adapter to begin with." placeholder:"ID[@VERSION]"`
}

// trainOutcome says what becomes of the version.
type trainOutcome struct {
	Activate string `env:"-" enum:"always,if_better,never" default:"always" help:"Whether the version answers for the id: always, if_better (than the active one, by macro-F1 on the same rows) or never."`
	Push     string `env:"-" help:"Repository of the Hugging Face Hub that it is sent to." placeholder:"OWNER/NAME"`
	Private  bool   `env:"-" help:"Make that repository private; goes with --push."`
}

func (c *trainCmd) validateRecipe() error {
	if c.Private && c.Push == "" {
		return errors.New("--private is for the repository that --push makes")
	}
	if len(c.LabelMap) == 0 && c.DropUnmapped {
		return errors.New("--drop-unmapped has a meaning only with --label-map")
	}
	return nil
}

// query says to the server how a file is to be read.
func (d *trainData) query(path string) (url.Values, error) {
	q := url.Values{"name": {filepath.Base(path)}}
	for name, value := range map[string]string{
		"format": d.Format, "encoding": d.Encoding, "text": d.TextColumn, "label": d.LabelColumn, "delimiter": d.Delimiter, "quotes": d.Quotes,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, is := range map[string]bool{"empty": d.DropEmpty, "unmapped": d.DropUnmapped} {
		if is {
			q.Set(name, "drop")
		}
	}
	if !d.Header {
		q.Set("header", "false")
	} else if d.separated(path) && (isNumber(d.TextColumn) || isNumber(d.LabelColumn)) {
		q.Set("header", "true") // the flag's own meaning, said aloud: columns by number need it
	}
	if len(d.LabelMap) > 0 {
		labels, err := json.Marshal(d.LabelMap)
		if err != nil {
			return nil, fmt.Errorf("--label-map: %w", err)
		}
		q.Set("labels", string(labels))
	}
	return q, nil
}

// separated tells whether a file is CSV or TSV.
func (d *trainData) separated(path string) bool {
	format := table.Format(d.Format)
	if format == "" {
		format, _ = table.FormatOf(path) // the server says what is wrong with the name
	}
	return format == table.CSV || format == table.TSV
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// validationFile is the file of --validation, or "" where it is a part or nothing.
func (d *trainData) validationFile() string {
	if _, err := strconv.ParseFloat(d.Validation, 64); err == nil {
		return ""
	}
	return d.Validation
}

// trainRequest is what the flags ask for, without the data.
func (c *trainCmd) trainRequest() client.TrainRequest {
	r := client.TrainRequest{
		Objective: c.Objective, Epochs: c.Epochs, BatchSize: c.BatchSize, CrossValidation: c.CrossValidation, EarlyStop: c.EarlyStop,
		ClassWeights: c.ClassWeights, Dropout: c.Dropout, MaxTokens: c.MaxTokens, Verbalisers: c.Verbaliser, WarmStartFrom: c.WarmStartFrom,
		Activate: c.Activate,
	}
	if split, err := strconv.ParseFloat(c.Validation, 64); err == nil {
		r.Validation = &client.Validation{Split: &split}
	}
	sweep := client.Sweep{}
	switch len(c.LearningRate) {
	case 0:
	case 1:
		r.LearningRate = c.LearningRate[0]
	default:
		sweep.LearningRate = c.LearningRate
	}
	switch len(c.Seed) {
	case 0:
	case 1:
		r.Seed = c.Seed[0]
	default:
		sweep.Seed = c.Seed
	}
	if sweep.LearningRate != nil || sweep.Seed != nil {
		r.Sweep = &sweep
	}
	if c.Push != "" {
		r.Push = &client.TrainPush{Repo: c.Push, Private: c.Private}
	}
	return r
}

// whereFlags are those by which the same place is found again.
func (c *trainCmd) whereFlags() string {
	var out strings.Builder
	for _, f := range []struct{ flag, value, plain string }{
		{"--server", c.Server, ""}, {"--data-dir", c.DataDir, ""}, {"--database-url", c.DatabaseURL, ""}, {"--base", c.Base, "builtin"},
	} {
		if f.value != f.plain && (f.flag == "--server" || c.Server == "") {
			fmt.Fprintf(&out, " %s %s", f.flag, f.value)
		}
	}
	return out.String()
}
