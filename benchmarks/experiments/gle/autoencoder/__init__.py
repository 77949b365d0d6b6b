"""Digits through two latent neurons, with feedback weights in five ways."""
