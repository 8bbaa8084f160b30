// Package ui tests the web page in a real browser, Debian's Chromium. It is nothing but
// tests.
package ui
