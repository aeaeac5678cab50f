package main

import "C" // for spin.c, which acts before main
