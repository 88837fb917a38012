// Package rank keeps the definitions of the charts and ranks the films by them.
package rank
