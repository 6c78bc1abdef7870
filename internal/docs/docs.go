// Package docs holds the gate tests over docs/. They promise that every
// configuration key is documented with its true default, that no page names a key
// that does not exist, and that every direct dependency has its reasons written
// down.
package docs
