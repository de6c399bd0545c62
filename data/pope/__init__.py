"""POPE: is a thing in the picture, or is it only likely to be?"""
