// Package bench measures how fast Valence is on this machine, beside what one would
// use instead, and holds the figures against bars.
//
// Every figure that is judged is a ratio of two things that were measured in the same
// run, in turns: a machine whose other tenants come and go slows both. A round measures
// each arm of a comparison once; a bar is judged by the median of the rounds' ratios.
//
// What is measured lies in files of their own: latency.go, adapters.go, roofline.go and
// so on, one a question. They go through the packages' own interfaces, and through a
// server in a process of its own where HTTP is part of the question.
package bench
