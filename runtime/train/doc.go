// Package train turns labelled texts into IA3 vectors over a frozen base.
//
// The package holds no tensor: it knows the model through [Model], which gives
// losses and gradients of a lesson, and does the rest in plain Go. It reads and
// splits the texts ([Inspect]), chooses the rows of every step, optimises,
// evaluates after each epoch, calibrates, and keeps its whole state as bytes
// ([Trainer.Checkpoint]), so that work can stop at any step and go on elsewhere
// ([Resume]) to the same bits.
//
// Several runs, which differ in learning rate, seed or fold, train together: their
// rows share lessons, each read with its own run's vectors, and nothing else is
// shared. What a run learns does not depend on the runs beside it, beyond rounding.
package train
