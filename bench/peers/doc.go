// Command peers compares Baton with ActiveMQ, RabbitMQ and the limits of the machine, in one run.
//
//	go run ./bench/peers [-against baton,relay,activemq,rabbitmq] [-growth baton] [-only FIGURE,…] [-rounds 3] [-duration 8s]
//	                     [-scale 1] [-fill 1] [-dir DIR] [-out FILE]
//
// Each round starts one broker after the other with an empty directory in DIR, lets `baton bench` workloads run on it, and
// stops it; so all meet the same moods of the machine. What is written is the median of the rounds, and the least and the
// most:
//
//	round 1: limits, baton, relay, activemq, rabbitmq, growth, profiles ──> FILE, and pictures beside it
//	round 2: limits, baton, relay, activemq, rabbitmq, growth           ──> FILE, with the medians of both
//	…
//
// FILE is a page of which only what is between two marks is written: the rest is written by hand, and stays.
//
// Invariants:
//
//   - Every contender is a process of its own, the relay too: this program starts itself for it. What is resident, and the
//     CPU time, are what the kernel says of that process.
//   - ActiveMQ and RabbitMQ come from Debian's packages; their journals are synced, as their defaults are. What a receipt
//     means is written beside the figures.
//   - A workload that a broker does not get right has no figure, but what was wrong.
package main
