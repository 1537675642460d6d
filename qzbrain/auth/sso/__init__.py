"""Signing in with an account that somebody else keeps: a directory (LDAP), or an identity provider (OpenID Connect). Off without their settings."""
