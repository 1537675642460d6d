// The view library in one place: every module takes `html` and the hooks from here.
import { Component } from "../vendor/htm-3.1.1/preact-standalone.js";

export { Component, html, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/htm-3.1.1/preact-standalone.js";

/** A component that renders again only when one of its props is another value. */
export const memo = (renderProps) =>
  class Memo extends Component {
    shouldComponentUpdate(next) {
      const now = this.props;
      const keys = Object.keys(next);
      return keys.length !== Object.keys(now).length || keys.some((key) => next[key] !== now[key]);
    }

    render(props) {
      return renderProps(props);
    }
  };
