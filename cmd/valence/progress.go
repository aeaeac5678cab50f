package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// newBar draws a progress bar on a terminal: what is done, the rate and the time
// left. Elsewhere it draws nothing. total is -1 when it is not known.
func newBar(std streams, total int64, description, unit string, bytes bool) *progressbar.ProgressBar {
	out := std.err
	if !std.errTTY {
		out = io.Discard
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetDescription(description),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	}
	if bytes {
		options = append(options, progressbar.OptionShowBytes(true))
	} else {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
	}
	return progressbar.NewOptions64(total, options...)
}

// byteBar draws work on bytes whose number is known when it begins.
func byteBar(std streams, description string) func(done, total int64) {
	var bar *progressbar.ProgressBar
	return func(done, total int64) {
		if bar == nil {
			bar = newBar(std, total, description, "", true)
		}
		_ = bar.Set64(done) // a bar that cannot be drawn stops nothing
	}
}
