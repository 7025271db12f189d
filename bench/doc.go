// Command bench measures the real broker beside the machine it runs on.
//
//	go run ./bench [-duration 5s] [-dir DIR]
//
// It builds baton, starts it on a temporary directory in DIR, and lets clients work that pipeline their receipts:
//
//	machine    fdatasync of 1 KiB appends, round trips over loopback
//	          ────────────────────────────────────────────────────────
//	broker     persistent, 1 producer, window 1         receipts a second, their latency
//	           persistent, 8 producers, 8 consumers     messages a second from SEND to MESSAGE, their latency
//	           non-persistent, 4 producers, 4 consumers
//
// The last column compares a rate with the machine's: what one fdatasync a message, or one round trip a message, would give.
// Every run is checked: a message lost or doubled makes the command fail. What is measured includes the clients, who share
// the machine with the broker. DIR decides which disk is measured; a tmpfs has none.
package main
