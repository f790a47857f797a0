// Package job runs work that must not be forgotten: a narrow port over River,
// with its tables in the product's own database.
//
// It owns kinds of job, the queues they wait in, retries, schedules and the
// rescue of jobs whose process died. It promises that a job enqueued in a
// transaction exists exactly if that commits, starts within 250 ms after if a
// worker is free, is never lost to kill -9, and that its noun is told once it
// will not be tried again.
// It refuses exactly-once execution: a handler may run again after a crash, so
// handlers are idempotent. A process that works a queue has a handler for every
// kind of that queue.
package job
