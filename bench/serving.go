package main

func serving() []contest { return nil }
