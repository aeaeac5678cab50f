// Package jobs runs trainings that outlive the process: queued, cut into segments, saved
// after each, taken over when their worker dies, and followed through a log of events.
//
// A job is a chain of segments, each a River job, from one checkpoint to the next. The
// checkpoint, the segment's end, the events and the next segment are one transaction, so
// that a process that is killed at any instant leaves a job that goes on from its last
// checkpoint and, training being deterministic, ends at the digest that it would have
// ended at. The next segment goes to the end of the queue: jobs take turns.
//
// River hands segments to workers, in order and each to one. It does not know a slow
// worker from a dead one, only how long ago a segment began; so who works on a job counts
// up a number in the job's row every half second, its beat. Whoever sees the beat stand
// still for the length of a lease, by its own clock, hands the segment out anew. A worker
// that was only slow finds the job's epoch raised, and none of its writes goes through.
//
// What a user asks for is written into the job's row at once, and the worker follows: it
// looks at every beat, and at once where the request came through its own process. So a
// job that is paused or cancelling may still be worked on for a step or two.
package jobs
